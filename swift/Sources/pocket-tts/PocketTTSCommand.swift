import Foundation
import PocketTTS

private let usage = """
    Usage:
      pocket-tts speak TEXT --model FOLDER [--voice NAME|FILE] [--seed N] [-o FILE] [--threads N]
                            [--speed X] [--temperature X] [--words FILE.json] [--no-cache]
      pocket-tts voices --model FOLDER    names of the model's voices
      pocket-tts check --model FOLDER     hash every file and compare it with the manifest
      pocket-tts bench --model FOLDER     a line of JSON with times and memory for each text of
                                          standard input ([--voice NAME] [--seed N] [--threads N]
                                          [--warm-up FRAMES] [--eos-threshold X])

    FOLDER is what `python -m exporters.tflite --out FOLDER` wrote.
    """

@main
struct PocketTTSCommand {
    static func main() async {
        do {
            try await run(Arguments(CommandLine.arguments.dropFirst()))
        } catch let error as UsageError {
            fail(error.message + "\n\n" + usage, status: 2)
        } catch {
            fail("\((error as? TTSError)?.message ?? "\(error)")", status: 1)
        }
    }

    private static func run(_ arguments: Arguments) async throws {
        switch arguments.command {
        case "speak": try await speak(arguments)
        case "voices":
            let model = try await arguments.model()
            for name in model.voiceNames {
                print(name == model.defaultVoice ? "\(name) (default)" : name)
            }
        case "check":
            try await arguments.model(check: .always).check()
            print("All files are as they were exported.")
        case "bench": try await bench(arguments)
        default: throw UsageError("There is no command \(arguments.command ?? "(none)").")
        }
    }

    private static func speak(_ arguments: Arguments) async throws {
        guard let text = arguments.text else { throw UsageError("speak needs a text.") }
        let output = arguments["-o"] ?? "out.wav"
        var options = SpeechOptions()
        options.speed = try arguments.number("--speed") ?? 1
        options.temperature = try arguments.number("--temperature")
        let model = try await arguments.model()
        let voice = try await arguments.voice(model)
        let missing = try model.wordsLeftOut(of: text, options: options.text)
        if !missing.isEmpty {
            warn("Left out, because this model reads English letters only: \(missing.joined(separator: ", "))")
        }
        let start = Date()
        let words = arguments["--words"]
        let speech = try await model.synthesize(
            text, voice: voice, seed: arguments.number("--seed"), options: options, words: words != nil)
        let took = Date().timeIntervalSince(start)
        for chunk in speech.chunks where !chunk.ended {
            warn("Chunk \(chunk.index) reached its limit of \(chunk.frames) frames: words may be missing.")
        }
        try speech.wav().write(to: URL(fileURLWithPath: output))
        if let words { try wordsJSON(speech.words).write(to: URL(fileURLWithPath: words)) }
        print(
            "\(output): \(rounded(speech.duration, 1)) s of speech in \(rounded(took, 2)) s, seed \(speech.seed)")
    }
}

/// What the command line says: a command, perhaps a text, and options with a value.
struct Arguments {
    let command: String?
    let text: String?
    private var values: [String: String] = [:]
    private static let withValue: Set<String> = [
        "--model", "--voice", "--seed", "-o", "--threads", "--speed", "--temperature", "--words", "--warm-up",
        "--eos-threshold",
    ]
    private static let flags: Set<String> = ["--no-cache"]

    init(_ arguments: some Sequence<String>) throws {
        var words: [String] = []
        var iterator = arguments.makeIterator()
        while let word = iterator.next() {
            if Arguments.withValue.contains(word) {
                guard let value = iterator.next() else { throw UsageError("\(word) needs a value.") }
                values[word] = value
            } else if Arguments.flags.contains(word) {
                values[word] = ""
            } else if word.hasPrefix("-") && word.count > 1 {
                throw UsageError("There is no option \(word).")
            } else {
                words.append(word)
            }
        }
        command = words.first
        text = words.dropFirst().first
        if words.count > 2 { throw UsageError("Put the text into quotes.") }
    }

    subscript(_ name: String) -> String? { values[name] }

    func number<Number: LosslessStringConvertible>(_ name: String) throws -> Number? {
        guard let text = values[name] else { return nil }
        guard let number = Number(text) else { throw UsageError("\(name) needs a number, got \(text).") }
        return number
    }

    func model(check: ModelOptions.Check = .once) async throws -> TTSModel {
        guard let folder = values["--model"] else { throw UsageError("--model FOLDER is missing.") }
        var options = ModelOptions()
        options.check = check
        options.threads = try number("--threads") ?? options.threads
        if values["--no-cache"] != nil { options.cacheFolder = nil }
        return try await TTSModel(folder: URL(fileURLWithPath: folder), options: options)
    }

    /// A voice of the model by its name, or a file.
    func voice(_ model: TTSModel) async throws -> Voice {
        guard let name = values["--voice"] ?? model.defaultVoice else {
            throw UsageError("The model has no default voice: --voice NAME.")
        }
        if name.hasSuffix(".safetensors") {
            return try await model.prepareVoice(file: URL(fileURLWithPath: name))
        }
        return try await model.prepareVoice(named: name)
    }
}

struct UsageError: Error {
    let message: String
    init(_ message: String) { self.message = message }
}

func rounded(_ value: Double, _ places: Int) -> String { String(format: "%.\(places)f", value) }

func warn(_ message: String) { FileHandle.standardError.write(Data((message + "\n").utf8)) }

private func fail(_ message: String, status: Int32) {
    warn(message)
    exit(status)
}
