// swift-tools-version: 6.0
import PackageDescription

// LiteRT's C library: a binary framework on Apple systems, a library of the system on Linux (the
// one in the Python wheel ai-edge-litert; docs/ios.md says how to link it).
#if os(Linux)
    let libraries: [Target] = [
        .systemLibrary(name: "CLiteRT", path: "swift/Sources/CLiteRT")
    ]
    let liteRT: [Target.Dependency] = ["CLiteRT"]
#else
    let release = "https://github.com/google-ai-edge/LiteRT/releases/download/v2.3.0"
    let libraries: [Target] = [
        .binaryTarget(
            name: "CLiteRT",
            url: "\(release)/CLiteRT.xcframework.zip",
            checksum: "b36a1a4f1b3eeb04546b4cc2986902cd704439b37c34597ab0f804aed08f5a00"
        ),
        .binaryTarget(
            name: "CLiteRT_mac",
            url: "\(release)/CLiteRT_mac.xcframework.zip",
            checksum: "071b9f4bebb483709ac3d7faf98123da5453a2ebf60ce8f819aa1e30b9535a98"
        ),
    ]
    let liteRT: [Target.Dependency] = [
        .target(name: "CLiteRT", condition: .when(platforms: [.iOS])),
        .target(name: "CLiteRT_mac", condition: .when(platforms: [.macOS])),
    ]
#endif

let package = Package(
    name: "PocketTTS",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [
        .library(name: "PocketTTS", targets: ["PocketTTS"]),
        .library(name: "PocketTTSAudio", targets: ["PocketTTSAudio"]),
        .executable(name: "pocket-tts", targets: ["pocket-tts"]),
    ],
    targets: libraries + [
        .target(name: "PocketTTS", dependencies: liteRT, path: "swift/Sources/PocketTTS"),
        .target(name: "CRingIndex", path: "swift/Sources/CRingIndex"),
        .target(
            name: "PocketTTSAudio",
            dependencies: ["PocketTTS", "CRingIndex"],
            path: "swift/Sources/PocketTTSAudio"
        ),
        .executableTarget(
            name: "pocket-tts", dependencies: ["PocketTTS"], path: "swift/Sources/pocket-tts"
        ),
        .testTarget(
            name: "PocketTTSTests", dependencies: ["PocketTTS"], path: "swift/Tests/PocketTTSTests"
        ),
        .testTarget(
            name: "PocketTTSAudioTests",
            dependencies: ["PocketTTSAudio"],
            path: "swift/Tests/PocketTTSAudioTests"
        ),
    ]
)
