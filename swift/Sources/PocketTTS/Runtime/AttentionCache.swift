import Foundation

/// What the model's attention is made of: layers, key/value heads, and the width of a head.
struct AttentionShape: Equatable {
    let layers: Int
    let heads: Int
    let width: Int
}

/// FlowLM's attention cache, in the layout of the graphs: `k_0` is [1, heads, capacity, width].
///
/// Keys lie there with the two channels of a rotary pair half a head apart; voices have them side
/// by side. Slots from `position` on are zero or stale; the graphs mask them.
final class AttentionCache {
    let shape: AttentionShape
    let capacity: Int
    var position = 0
    let tensors: [String: Tensor]
    private let keys: [Tensor]
    private let values: [Tensor]

    init(_ shape: AttentionShape, capacity: Int) throws {
        self.shape = shape
        self.capacity = capacity
        let size = [1, shape.heads, capacity, shape.width]
        keys = try (0..<shape.layers).map { _ in try Tensor(size) }
        values = try (0..<shape.layers).map { _ in try Tensor(size) }
        var named: [String: Tensor] = [:]
        for layer in 0..<shape.layers {
            named["k_\(layer)"] = keys[layer]
            named["v_\(layer)"] = values[layer]
        }
        tensors = named
    }

    /// This cache, or a copy in the smallest capacity that holds `positions`.
    func grown(_ positions: Int, _ capacities: [Int]) throws -> AttentionCache {
        if positions <= capacity { return self }
        guard let next = capacities.filter({ $0 >= positions }).min() else {
            throw TTSError.generation(
                "Voice, text and speech need \(positions) positions, this model has "
                    + "\(capacities.max() ?? 0): use shorter sentences or a shorter voice, or "
                    + "export the model with a larger --max-frames.")
        }
        let larger = try AttentionCache(shape, capacity: next)
        larger.position = position
        for (from, to) in zip(keys + values, larger.keys + larger.values) {
            for head in 0..<shape.heads {
                larger.slot(to, head, 0).update(from: slot(from, head, 0), count: position * shape.width)
            }
        }
        return larger
    }

    /// Keep the first `count` of the rows that a call returned.
    func append(_ call: Call, count: Int) throws {
        guard position + count <= capacity else {
            throw TTSError.generation("\(position + count) positions do not fit into \(capacity).")
        }
        for layer in 0..<shape.layers {
            copyRows(try call.output("k_\(layer)_rows"), to: keys[layer], count)
            copyRows(try call.output("v_\(layer)_rows"), to: values[layer], count)
        }
        position += count
    }

    /// Continue with a voice.
    func append(_ voice: Voice) throws {
        guard voice.shape == shape else {
            throw TTSError.voice("The voice was made for another model. Make it again with this one.")
        }
        guard position + voice.length <= capacity else {
            throw TTSError.generation("The voice does not fit into a cache of \(capacity).")
        }
        for layer in 0..<shape.layers {
            let (k, v) = voice.rows(layer)
            for t in 0..<voice.length {
                for head in 0..<shape.heads {
                    let from = (t * shape.heads + head) * shape.width
                    deinterleave(k + from, slot(keys[layer], head, position + t))
                    slot(values[layer], head, position + t).update(from: v + from, count: shape.width)
                }
            }
        }
        position += voice.length
        voice.releasePages()
    }

    /// Keys and values written so far, as a voice has them: each layer [length, heads, width].
    func copyRows() -> (keys: [[Float]], values: [[Float]]) {
        (keys.map { rows($0, interleaved: true) }, values.map { rows($0, interleaved: false) })
    }

    private func rows(_ tensor: Tensor, interleaved: Bool) -> [Float] {
        let (heads, width) = (shape.heads, shape.width)
        var result = [Float](repeating: 0, count: position * heads * width)
        for t in 0..<position {
            for head in 0..<heads {
                let from = slot(tensor, head, t)
                let to = (t * heads + head) * width
                for i in 0..<width {
                    result[to + i] = interleaved ? from[i / 2 + (i % 2) * (width / 2)] : from[i]
                }
            }
        }
        return result
    }

    private func slot(_ tensor: Tensor, _ head: Int, _ t: Int) -> UnsafeMutablePointer<Float> {
        tensor.floats + (head * capacity + t) * shape.width
    }

    private func copyRows(_ rows: Tensor, to tensor: Tensor, _ count: Int) {
        let stride = rows.shape[2] * shape.width
        for head in 0..<shape.heads {
            slot(tensor, head, position)
                .update(from: rows.floats + head * stride, count: count * shape.width)
        }
    }

    private func deinterleave(_ from: UnsafePointer<Float>, _ to: UnsafeMutablePointer<Float>) {
        let half = shape.width / 2
        for i in 0..<half {
            to[i] = from[2 * i]
            to[half + i] = from[2 * i + 1]
        }
    }
}
