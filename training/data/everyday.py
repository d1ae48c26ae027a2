"""Everyday sentences from a small grammar of our own, dedicated to the public domain (CC0).

Speeches and novels lack what a voice is asked for most: greetings, questions, times, amounts
and machine talk. Templates with slots fill that gap.
"""

import random
import re

from num2words import num2words

SLOTS: dict[str, str] = {
    "name": "Anna Ben Clara David Emma Frank Grace Henry Irene Jack Kate Liam Maria Noah Olivia "
    "Peter Quinn Rachel Sam Tom Laura Victor Wendy Max Julia Daniel Sarah Michael Susan Robert",
    "place": "London Paris Boston Chicago Berlin Toronto Texas California Madrid Rome Tokyo "
    "Sydney Dublin Denver Seattle Oregon Florida",
    "spot": "kitchen garden office station library museum hotel airport school hospital market "
    "restaurant theater bathroom basement beach park bank bakery garage harbor",
    "thing": "book phone computer letter bicycle umbrella camera ticket key bottle jacket window "
    "picture chair table laptop keyboard battery printer charger guitar sandwich mirror lamp "
    "blanket package screen file folder message button",
    "food": "coffee tea bread cheese soup rice chicken pizza chocolate salad pasta fish "
    "breakfast orange-juice water milk cake honey",
    "animal": "cat dog horse bird rabbit fox mouse cow sheep duck tiger elephant monkey",
    "adj": "small large red blue green old new quick quiet heavy bright warm cold clean broken "
    "beautiful strange simple perfect empty yellow purple gentle noisy",
    "feel": "happy tired sorry glad hungry busy ready worried excited surprised certain afraid",
    "verb": "open close find bring move carry clean paint check fix send keep hide sell borrow",
    "past": "opened closed found brought moved carried cleaned painted checked fixed sent kept "
    "sold lost forgot bought noticed",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "month": "January February March April May June July August September October November "
    "December",
    "when": "today tomorrow tonight this-morning this-evening next-week next-year right-now "
    "on-the-weekend before-lunch after-dinner in-a-few-minutes every-day later soon",
    "weather": "sunny cloudy windy raining snowing foggy hot freezing cold humid",
    "tech": "server network database website browser program system update password account "
    "download internet language-model speech-engine software robot algorithm",
    "job": "doctor teacher driver lawyer engineer nurse farmer writer singer painter pilot "
    "student waiter captain neighbor manager",
    "unit": "minutes hours days weeks miles kilometers pounds degrees percent dollars euros "
    "people pages seconds meters years",
    "who": "I you we they",
    "rel": "mother father sister brother uncle aunt daughter son friend grandmother cousin wife "
    "husband",
}

TEMPLATES = """
Hello, {name}.
Hello, how are you {when}?
Good morning, {name}.
Good evening, and welcome to {place}.
Thank you very much, {name}.
Thanks for the {food}.
Yes, please.
No, thank you.
Of course.
I am {feel}.
Are you {feel}?
I'm not {feel}, I'm just {feel}.
Excuse me, where is the {spot}?
What time is it?
It is {hour} {minute}.
It's {hour} o'clock.
The train to {place} leaves at {hour} {minute}.
My flight from {place} arrives on {day} at {hour} {minute}.
The meeting is on {day}, {month} {ordinal}.
Today is {day}, {month} {ordinal}, {year}.
She was born on {month} {ordinal}, {year}.
In {year}, the {job} moved to {place}.
It costs {number} dollars and {small} cents.
The total is {number} {unit}.
About {number} {unit} ago, my {rel} {past} the {thing}.
Please call {digits}.
The code is {digits}.
Room {number} is next to the {spot}.
Chapter {small}.
Number {small}.
There are {small} {animal}s in the {spot}.
The temperature is {number} degrees, and it is {weather}.
Is it {weather} in {place}?
It will be {weather} {when}.
Can you {verb} the {thing}?
Could you please {verb} my {adj} {thing} {when}?
Where did you put the {adj} {thing}?
Who {past} the {thing}?
Why is the {thing} so {adj}?
How much is the {thing}?
How many {unit} will it take?
Do {who} want some {food}?
Would you like {food} or {food}?
I would like some {food}, please.
My {rel} is a {job} in {place}.
The {job} {past} a {adj} {thing} and went to the {spot}.
The {adj} {animal} looked at the {adj} {animal}.
A {adj} {animal} jumped over the {thing}.
{name} and {name} are waiting in the {spot}.
{name} {past} the {thing} {when}.
Turn left at the {spot}, then turn right at the {spot}.
Don't {verb} that {thing}!
Let's go to the {spot} {when}.
We can't {verb} it {when}, because the {thing} is {adj}.
They'll {verb} the {thing} if you ask {name}.
The {tech} is ready.
The {tech} isn't working {when}.
Your {tech} needs a new {tech}.
Please restart the {tech} and try again.
An error happened in the {tech}, please {verb} the {thing}.
Press the {adj} button to {verb} the {tech}.
This voice was made by a small {tech}.
You have {small} new messages.
Your battery is at {number} percent.
Set a timer for {small} minutes.
Playing music in the {spot}.
The {thing} is on the {adj} table in the {spot}.
I think {who} should {verb} the {thing} {when}.
"{food}," said the {job}, "is better than {food}."
Once upon a time, a {adj} {animal} lived near a {spot}.
See you {when}, {name}.
Happy birthday, {name}!
What a {adj} {thing}!
{small} plus {small} is {number}.
First, {verb} the {thing}, second, {verb} the {thing}, and finally, go home.
"""


def everyday_sentences(count: int, seed: int) -> list[str]:
    """Draws `count` sentences (repeats possible) from the grammar; numbers come as words."""
    draw = random.Random(seed)
    templates = [line for line in TEMPLATES.strip().splitlines() if line]
    return [_fill(draw.choice(templates), draw) for _ in range(count)]


def _fill(template: str, draw: random.Random) -> str:
    sentence = re.sub(r"\{(\w+)\}", lambda m: _slot(m.group(1), draw), template)
    sentence = sentence.replace('"', "")
    sentence = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", sentence)
    return sentence[0].upper() + sentence[1:]


def _slot(slot: str, draw: random.Random) -> str:
    if slot == "hour":
        return num2words(draw.randint(1, 12))
    if slot == "minute":
        minute = draw.randint(1, 59)
        return ("oh " if minute < 10 else "") + num2words(minute)
    if slot == "ordinal":
        return num2words(draw.randint(1, 31), to="ordinal")
    if slot == "year":
        return num2words(draw.randint(1800, 2030), to="year")
    if slot == "small":
        return num2words(draw.randint(1, 20))
    if slot == "number":
        return num2words(draw.choice([draw.randint(1, 100), draw.randint(1, 5000)]))
    if slot == "digits":
        return " ".join(num2words(draw.randint(0, 9)) for _ in range(draw.randint(3, 7)))
    return draw.choice(SLOTS[slot].split()).replace("-", " ")
