#if canImport(AVFoundation)
    import AVFoundation
    import PocketTTS

    // No compiler has seen this file here: AVFoundation is on Apple systems only. Its logic of
    // buffers is `PlaybackBuffer`, which is tested.

    /// Plays speech while it is made.
    ///
    /// An `AVAudioSourceNode` pulls samples from a buffer, so that neither the first nor the last
    /// words are lost. Interruptions (a call) pause, and go on where the system says so. When the
    /// route changes (headphones), what the old output had taken and not played is played again.
    ///
    /// ```swift
    /// let player = try SpeechPlayer(sampleRate: tts.sampleRate)
    /// try await player.play(tts.stream("Hello!", voice: "joe"))
    /// ```
    @MainActor
    public final class SpeechPlayer {
        private let engine = AVAudioEngine()
        private let buffer: PlaybackBuffer
        private let sampleRate: Int
        private var observers: [any NSObjectProtocol] = []
        private var isInterrupted = false

        /// - Parameters:
        ///   - sampleRate: of the model (24,000).
        ///   - prebuffer: seconds of speech that must be there before playing begins.
        ///
        /// The audio session is the app's: set its category (`.playback` goes on in the background
        /// and with the switch on silent) and activate it before. Throws where the output cannot be
        /// started.
        public init(sampleRate: Int, prebuffer: Double = 0.15) throws {
            self.sampleRate = sampleRate
            let buffer = PlaybackBuffer(
                capacity: 10 * sampleRate, prebuffer: Int(prebuffer * Double(sampleRate)),
                history: sampleRate)
            self.buffer = buffer
            guard let format = AVAudioFormat(standardFormatWithSampleRate: Double(sampleRate), channels: 1)
            else { throw TTSError.option("There is no audio format of \(sampleRate) Hz.") }
            let source = AVAudioSourceNode(format: format) { isSilence, _, frames, output in
                let channels = UnsafeMutableAudioBufferListPointer(output)
                guard let samples = channels[0].mData?.assumingMemoryBound(to: Float.self) else { return noErr }
                let count = buffer.read(into: samples, count: Int(frames))
                isSilence.pointee = ObjCBool(count == 0)
                return noErr
            }
            engine.attach(source)
            engine.connect(source, to: engine.mainMixerNode, format: format)
            observe()
            try engine.start()
        }

        deinit { for observer in observers { NotificationCenter.default.removeObserver(observer) } }

        /// Play a stream to its end. Throws the stream's errors; cancelling the task stops at once.
        public func play(_ stream: SpeechStream) async throws {
            do {
                for try await frame in stream {
                    var rest = frame.samples[...]
                    while !rest.isEmpty {
                        rest = rest.dropFirst(buffer.write(rest))
                        if !rest.isEmpty { try await Task.sleep(nanoseconds: 50_000_000) }
                    }
                }
                buffer.finish()
                while !buffer.isDrained { try await Task.sleep(nanoseconds: 20_000_000) }
                // What the output has taken is still to be heard.
                try await Task.sleep(nanoseconds: UInt64(latency * 1e9))
                buffer.discard()
            } catch {
                buffer.discard()
                throw error
            }
        }

        /// Stop at once; what was not played is forgotten.
        public func stop() { buffer.discard() }

        /// Seconds between a sample's being taken and its being heard.
        private var latency: Double {
            #if os(iOS)
                let session = AVAudioSession.sharedInstance()
                return session.outputLatency + session.ioBufferDuration
            #else
                return engine.outputNode.presentationLatency
            #endif
        }

        private func observe() {
            let center = NotificationCenter.default
            observers.append(
                center.addObserver(
                    forName: .AVAudioEngineConfigurationChange, object: engine, queue: .main
                ) { [weak self] _ in MainActor.assumeIsolated { self?.recover() } })
            #if os(iOS)
                observers.append(
                    center.addObserver(
                        forName: AVAudioSession.interruptionNotification, object: nil, queue: .main
                    ) { [weak self] note in
                        let type = note.userInfo?[AVAudioSessionInterruptionTypeKey] as? UInt
                        let options = note.userInfo?[AVAudioSessionInterruptionOptionKey] as? UInt
                        MainActor.assumeIsolated { self?.interrupted(type ?? 0, options ?? 0) }
                    })
            #endif
        }

        /// The engine has stopped itself, for another route or rate.
        private func recover() {
            guard !isInterrupted, !engine.isRunning else { return }
            buffer.rewind(Int(latency * Double(sampleRate)))
            try? engine.start()  // fails while the session is not ours: the next change tries again
        }

        #if os(iOS)
            private func interrupted(_ type: UInt, _ options: UInt) {
                switch AVAudioSession.InterruptionType(rawValue: type) {
                case .began:
                    isInterrupted = true
                    engine.pause()
                case .ended:
                    isInterrupted = false
                    guard AVAudioSession.InterruptionOptions(rawValue: options).contains(.shouldResume)
                    else { return }
                    try? AVAudioSession.sharedInstance().setActive(true)
                    recover()
                default: break
                }
            }
        #endif
    }
#endif
