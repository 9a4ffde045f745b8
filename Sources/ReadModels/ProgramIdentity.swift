import CProgramImage
import CXXHash
import Foundation

/// Which program this is: what another one has made may have been folded by another reducer.
package enum ProgramIdentity {
    /// A digest of the executable's bytes, such as `program 9c1d0a3b5e7f2468`.
    ///
    /// A copy of it on another machine is the same program. A file that may be run and not read is
    /// known by its code in memory, the linker's build id included; so it is another program to those
    /// who may read it. Shared
    /// libraries are not looked at. Cost: the file is read once, some ten milliseconds.
    package static let current = digestOfFile ?? digestOfMemory

    private static var digestOfFile: String? {
        let file = program_open()
        guard file >= 0 else { return nil }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        var digest: UInt64 = 0
        do {
            // Piece by piece: the pages of a file that is mapped count as memory of this process.
            while let bytes = try handle.read(upToCount: 1 << 20), !bytes.isEmpty {
                digest = bytes.withUnsafeBytes { cxx_hash64($0.baseAddress, $0.count, digest) }
            }
        } catch {
            return nil
        }
        return text(digest)
    }

    private static var digestOfMemory: String {
        var segments = [program_segment](repeating: program_segment(), count: 16)
        let count = program_segments(&segments, segments.count)
        precondition(count > 0, "A program without code is running.")
        let digest = segments.prefix(count).reduce(UInt64(0)) {
            cxx_hash64($1.start, $1.length, $0)
        }
        return text(digest)
    }

    private static func text(_ digest: UInt64) -> String {
        let text = String(digest, radix: 16)
        return "program " + String(repeating: "0", count: 16 - text.count) + text
    }
}

extension ReadModelDatabase {
    /// Whose reducer works here: the version that the projection declares, or the program.
    package func identity(of projection: ProjectionTables) -> String? {
        projection.version.map { "version \($0)" } ?? program
    }
}
