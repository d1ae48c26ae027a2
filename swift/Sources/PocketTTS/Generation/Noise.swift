/// The noise of the sampler, the same bits in every engine (docs/noise.md is its specification).
///
/// Any value is a function of (seed, chunk, index), so that a chunk does not depend on how many
/// frames the one before it took.
struct Noise: Sendable {
    let seed: UInt64
    let chunk: UInt64
    /// Variance; 0 gives zeros.
    let temperature: Double
    /// Largest absolute value, in units of the noise; nil for no limit.
    let clamp: Double?
    private let scale: Double
    private let below: Double

    init(seed: UInt64, chunk: Int, temperature: Double, clamp: Double? = nil) {
        self.seed = seed
        self.chunk = UInt64(chunk)
        self.temperature = temperature
        self.clamp = clamp
        scale = temperature.squareRoot()
        below = clamp.map { temperature > 0 ? massBelow(-$0 / temperature.squareRoot()) : 0 } ?? 0
    }

    /// The noise of `frames` frames from `first` on, `width` values each.
    func frames(_ first: Int, _ frames: Int, width: Int) -> [Float] {
        guard temperature > 0 else { return [Float](repeating: 0, count: frames * width) }
        let start = first * width
        var block = (UInt64.max, Philox.Block())
        return (start..<start + frames * width).map { n in
            let index = UInt64(n / 4)
            if block.0 != index { block = (index, Philox.block(index, key: (seed, chunk))) }
            return value(block.1[n % 4])
        }
    }

    private func value(_ word: UInt64) -> Float {
        var uniform = (Double(word >> 12) * 2 + 1) * unit
        if clamp != nil { uniform = below + uniform * (1 - 2 * below) }
        let normal = inverseNormal(uniform) * scale
        return Float(clamp.map { min(max(normal, -$0), $0) } ?? normal)
    }
}

/// Philox4x64-10 (Salmon, Moraes, Dror and Shaw, 2011).
enum Philox {
    typealias Block = SIMD4<UInt64>

    /// The block of the 256-bit counter `counter`.
    static func block(_ counter: UInt64, key: (UInt64, UInt64)) -> Block {
        var (k0, k1) = key
        var c = Block(counter, 0, 0, 0)
        for _ in 0..<10 {
            let a = c[0].multipliedFullWidth(by: 0xD2E7_470E_E14C_6C93)
            let b = c[2].multipliedFullWidth(by: 0xCA5A_8263_9512_1157)
            c = Block(b.high ^ c[1] ^ k0, b.low, a.high ^ c[3] ^ k1, a.low)
            k0 &+= 0x9E37_79B9_7F4A_7C15
            k1 &+= 0xBB67_AE85_84CA_A73B
        }
        return c
    }
}

/// The standard normal deviate that is exceeded with probability 1 - p; p inside (0, 1).
///
/// Wichura's AS 241, procedure PPND16.
func inverseNormal(_ p: Double) -> Double {
    let q = p - 0.5
    if abs(q) <= 0.425 {
        let centre = 0.180625 - q * q
        return q * (polynomial(centreTop, centre) / polynomial(centreBottom, centre))
    }
    let r = (-logarithm(min(p, 1 - p))).squareRoot()
    let distance =
        r <= 5
        ? polynomial(nearTop, r - 1.6) / polynomial(nearBottom, r - 1.6)
        : polynomial(farTop, r - 5) / polynomial(farBottom, r - 5)
    return q < 0 ? -distance : distance
}

private let unit = 0x1p-53

/// The multiple of 2^-53 where `inverseNormal` reaches `z` < 0, by bisection.
private func massBelow(_ z: Double) -> Double {
    var low: UInt64 = 0
    var high: UInt64 = 1 << 52
    while high - low > 1 {
        let middle = (low + high) / 2
        if inverseNormal(Double(middle) * unit) <= z { low = middle } else { high = middle }
    }
    return Double(low) * unit
}

/// From + - * / only: no mathematics library decides its last bit.
private func logarithm(_ x: Double) -> Double {
    var exponent = Double(x.exponent) + 1
    var mantissa = x.significand / 2
    if mantissa < 0.7071067811865476 {
        mantissa *= 2
        exponent -= 1
    }
    let s = (mantissa - 1) / (mantissa + 1)
    return exponent * 0.6931471805599453 + 2 * s * polynomial(logarithmTerms, s * s)
}

/// Horner's rule, the constant term first in `coefficients`.
private func polynomial(_ coefficients: [Double], _ x: Double) -> Double {
    var value = coefficients[coefficients.count - 1]
    for coefficient in coefficients.dropLast().reversed() { value = value * x + coefficient }
    return value
}

private let logarithmTerms: [Double] = stride(from: 1.0, to: 24, by: 2).map { 1 / $0 }
private let centreTop = [
    3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
    1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
    3.3430575583588128105e4, 2.5090809287301226727e3,
]
private let centreBottom = [
    1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
    2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
    5.2264952788528545610e3,
]
private let nearTop = [
    1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
    3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
    2.27238449892691845833e-2, 7.74545014278341407640e-4,
]
private let nearBottom = [
    1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
    1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
    1.05075007164441684324e-9,
]
private let farTop = [
    6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
    2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
    2.71155556874348757815e-5, 2.01033439929228813265e-7,
]
private let farBottom = [
    1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
    7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
    2.04426310338993978564e-15,
]
