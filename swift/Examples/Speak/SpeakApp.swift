// A small app that speaks what is typed. It compiles on Apple systems only, and no compiler has
// seen it here: make an app in Xcode, add this package with its products PocketTTS and
// PocketTTSAudio, put this file in place of the app's own, and add the folder that
// `python -m exporters.tflite --precision int8 --out PocketVoice` writes to the app's resources
// (as a folder reference, so that its structure stays).

#if canImport(SwiftUI) && canImport(AVFoundation)
    import AVFoundation
    import PocketTTS
    import PocketTTSAudio
    import SwiftUI

    @main
    struct SpeakApp: App {
        var body: some Scene {
            WindowGroup { SpeakView() }
        }
    }

    struct SpeakView: View {
        @StateObject private var speaker = Speaker()
        @State private var text = "Hello! I was made on your own phone."

        var body: some View {
            NavigationStack {
                Form {
                    Section("Text") {
                        TextEditor(text: $text).frame(minHeight: 140)
                    }
                    Section("Voice") {
                        Picker("Voice", selection: $speaker.voice) {
                            ForEach(speaker.voices, id: \.self) { Text($0) }
                        }
                        Slider(value: $speaker.speed, in: 0.5...2, step: 0.05) { Text("Speed") }
                    }
                    Section {
                        if speaker.isSpeaking {
                            Button("Stop", role: .destructive) { speaker.stop() }
                        } else {
                            Button("Speak") { speaker.speak(text) }
                                .disabled(!speaker.isReady || text.isEmpty)
                        }
                    } footer: {
                        Text(speaker.status)
                    }
                }
                .navigationTitle("Speak")
            }
            .task { await speaker.load() }
        }
    }

    /// The model, the player, and what the view shows of them.
    @MainActor
    final class Speaker: ObservableObject {
        @Published var voice = ""
        @Published var speed = 1.0
        @Published private(set) var voices: [String] = []
        @Published private(set) var isReady = false
        @Published private(set) var isSpeaking = false
        @Published private(set) var status = "Loading …"

        private var model: TTSModel?
        private var player: SpeechPlayer?
        private var task: Task<Void, Never>?

        func load() async {
            do {
                guard let folder = Bundle.main.url(forResource: "PocketVoice", withExtension: nil) else {
                    status = "The app's resources have no folder PocketVoice."
                    return
                }
                try openAudioSession()
                let model = try await TTSModel(folder: folder)
                player = try SpeechPlayer(sampleRate: model.sampleRate)
                voices = model.voiceNames
                voice = model.defaultVoice ?? voices.first ?? ""
                self.model = model
                isReady = true
                status = "\(model.name), \(model.precision)"
            } catch {
                status = "\(error)"
            }
        }

        func speak(_ text: String) {
            guard let model, let player else { return }
            var options = SpeechOptions()
            options.speed = speed
            let stream = model.stream(text, voice: voice, options: options)
            isSpeaking = true
            status = "Speaking …"
            task = Task {
                do {
                    try await player.play(stream)
                    status = "Spoken."
                } catch is CancellationError {
                    status = "Stopped."
                } catch {
                    status = "\(error)"
                }
                isSpeaking = false
            }
        }

        func stop() { task?.cancel() }

        /// Speech goes on in the background (with the capability "Audio" of the app) and with the
        /// switch on silent.
        private func openAudioSession() throws {
            #if os(iOS)
                let session = AVAudioSession.sharedInstance()
                try session.setCategory(.playback, mode: .spokenAudio)
                try session.setActive(true)
            #endif
        }
    }
#endif
