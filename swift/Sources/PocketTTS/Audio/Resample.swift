import Foundation

/// `samples` at another rate, ceil(n * to / from) of them: a windowed sinc with a passband to 0.9
/// of the lower Nyquist frequency and 80 dB of stopband attenuation.
func resample(_ samples: [Float], from: Int, to: Int) -> [Float] {
    guard from != to, !samples.isEmpty else { return samples }
    let cutoff = 0.95 * Double(min(from, to)) / Double(from)  // of the input's Nyquist frequency
    let zeros = 48.0  // zero crossings to either side
    let reach = Int((zeros / cutoff).rounded(.up))
    let count = (samples.count * to + from - 1) / from
    let beta = 7.857  // Kaiser window for 80 dB
    let norm = bessel(beta)
    return (0..<count).map { n in
        let place = Double(n) * Double(from) / Double(to)
        let centre = Int(place.rounded(.down))
        var sum = 0.0
        for i in max(centre - reach + 1, 0)...min(centre + reach, samples.count - 1)
        where i >= 0 && i < samples.count {
            let x = (place - Double(i)) * cutoff
            let edge = 1 - (x / zeros) * (x / zeros)
            guard edge > 0 else { continue }
            let sinc = abs(x) < 1e-9 ? 1 : sin(.pi * x) / (.pi * x)
            sum += Double(samples[i]) * cutoff * sinc * bessel(beta * edge.squareRoot()) / norm
        }
        return Float(sum)
    }
}

/// The modified Bessel function of the first kind and order 0, by its series.
private func bessel(_ x: Double) -> Double {
    var (sum, term, k) = (1.0, 1.0, 1.0)
    while term > 1e-12 * sum {
        term *= (x / (2 * k)) * (x / (2 * k))
        sum += term
        k += 1
    }
    return sum
}
