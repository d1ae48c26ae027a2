import Foundation
import PocketTTS
func rss() -> String { (try! String(contentsOfFile: "/proc/self/status", encoding: .utf8)).split(separator: "\n").filter{$0.hasPrefix("VmHWM")||$0.hasPrefix("RssAnon")||$0.hasPrefix("VmRSS")}.joined(separator: " ") }
do {
print(rss())
let t0 = Date()
let tts = try await TTSModel(folder: URL(fileURLWithPath: CommandLine.arguments[1]))
print("load", Date().timeIntervalSince(t0), rss())
for _ in 0..<2 {
let t1 = Date()
let speech = try await tts.synthesize(CommandLine.arguments[2], seed: 7)
print("took", Date().timeIntervalSince(t1), rss())
print(speech.duration, speech.chunks)
try speech.wav().write(to: URL(fileURLWithPath: "/tmp/sw/out.wav"))
}
} catch { print(error) }
