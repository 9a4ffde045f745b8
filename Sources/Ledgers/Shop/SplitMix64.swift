/// Random numbers that are the same on every machine for the same seed.
///
/// Source: S. Vigna, https://prng.di.unimi.it/splitmix64.c (public domain).
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    /// A number from 0 up to `bound`, that excluded.
    ///
    /// The standard library does not promise that its own way from bits to numbers stays the same.
    mutating func below(_ bound: Int) -> Int {
        Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// True in one case out of `odds`, on average.
    mutating func oneIn(_ odds: Int) -> Bool { below(odds) == 0 }
}
