import Foundation

/// `samples` at another rate, ceil(n * to / from) of them: a windowed sinc with a passband to 0.9
/// of the lower Nyquist frequency and 80 dB of stopband attenuation.
func resample(_ samples: [Float], from: Int, to: Int) -> [Float] {
    guard from != to, !samples.isEmpty else { return samples }
    let divisor = greatestCommonDivisor(from, to)
    let (up, down) = (to / divisor, from / divisor)
    let filter = Filter(cutoff: 0.95 * Double(min(from, to)) / Double(from), phases: up)
    let count = (samples.count * to + from - 1) / from
    return (0..<count).map { n in
        let (first, phase) = (n * down / up - filter.reach + 1, n * down % up)
        var sum = 0.0
        for tap in max(0, -first)..<max(0, min(2 * filter.reach, samples.count - first)) {
            sum += Double(samples[first + tap]) * filter.taps[2 * filter.reach * phase + tap]
        }
        return Float(sum)
    }
}

/// A low-pass filter at each of the places that an output sample can have between two inputs.
private struct Filter {
    let reach: Int  // input samples to either side
    var taps: [Double] = []  // [phases, 2 * reach]

    /// `cutoff` is a share of the input's Nyquist frequency.
    init(cutoff: Double, phases: Int) {
        let zeros = 48.0  // zero crossings to either side
        let beta = 7.857  // of Kaiser's window, for 80 dB
        reach = Int((zeros / cutoff).rounded(.up))
        for phase in 0..<phases {
            for tap in 0..<2 * reach {
                let x = (Double(phase) / Double(phases) - Double(tap - reach + 1)) * cutoff
                let edge = max(0, 1 - (x / zeros) * (x / zeros))
                let sinc = abs(x) < 1e-9 ? 1 : sin(.pi * x) / (.pi * x)
                let window = edge > 0 ? bessel(beta * edge.squareRoot()) / bessel(beta) : 0
                taps.append(cutoff * sinc * window)
            }
        }
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

private func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
    b == 0 ? a : greatestCommonDivisor(b, a % b)
}
