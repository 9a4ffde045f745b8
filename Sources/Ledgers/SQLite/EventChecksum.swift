internal import CXXHash
internal import ProjectionKit

/// The checksum that is stored with an event: XXH3 of 64 bits over all that is stored of it.
///
/// First its numbers, as eight bytes each, the least significant first: sequence, time, and the
/// lengths of stream, type, payload, metadata and id, -1 for one that is NULL. Then each text that
/// there is, in this order, with the hash of what came before as its seed.
enum EventChecksum {
    static func of(
        sequence: Int64,
        time: Int64,
        type: UnsafeRawBufferPointer,
        texts: EventBytes
    ) -> Int64 {
        let numbers: (Int64, Int64, Int64, Int64, Int64, Int64, Int64) = (
            sequence.littleEndian,
            time.littleEndian,
            length(texts.stream),
            length(type),
            length(texts.payload),
            length(texts.metadata),
            length(texts.id)
        )
        var hash = withUnsafeBytes(of: numbers) { XXHash.of($0, seed: 0) }
        hash = XXHash.of(texts.stream, seed: hash)
        hash = XXHash.of(type, seed: hash)
        hash = XXHash.of(texts.payload, seed: hash)
        if texts.metadata.baseAddress != nil { hash = XXHash.of(texts.metadata, seed: hash) }
        if texts.id.baseAddress != nil { hash = XXHash.of(texts.id, seed: hash) }
        return Int64(bitPattern: hash)
    }

    /// The checksum of a bucket with its next event.
    ///
    /// It begins with 0.
    static func chained(_ before: Int64, _ next: Int64) -> Int64 {
        withUnsafeBytes(of: (before.littleEndian, next.littleEndian)) {
            Int64(bitPattern: XXHash.of($0, seed: 0))
        }
    }

    private static func length(_ text: UnsafeRawBufferPointer) -> Int64 {
        (text.baseAddress == nil ? -1 : Int64(text.count)).littleEndian
    }
}

/// XXH3 (https://xxhash.com).
enum XXHash {
    static func of(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
        cxx_hash64(bytes.baseAddress, bytes.count, seed)
    }
}

/// XXH3 of 128 bits over bytes that come in pieces.
///
/// Used by one thread.
final class StreamDigest {
    private let handle: OpaquePointer

    init() {
        guard let handle = cxx_digest_create() else {
            preconditionFailure("no memory for a digest")
        }
        self.handle = handle
    }

    deinit { cxx_digest_destroy(handle) }

    func add(_ bytes: UnsafeRawBufferPointer) {
        cxx_digest_add(handle, bytes.baseAddress, bytes.count)
    }

    /// 16 bytes, the most significant first: the canonical form of XXH128.
    var value: [UInt8] {
        let digest = cxx_digest_now(handle)
        return withUnsafeBytes(of: (digest.high.bigEndian, digest.low.bigEndian)) { Array($0) }
    }
}
