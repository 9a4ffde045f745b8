import CXXHash
import Foundation

/// Which program this is: what another one has made may have been folded by another reducer.
package enum ProgramIdentity {
    /// A digest of the executable's bytes, such as `program 9c1d0a3b5e7f2468`.
    ///
    /// A copy of it on another machine is the same program. Cost: the file is read once, some ten
    /// milliseconds.
    package static let current: String? = {
        guard
            let bytes = try? Data(
                contentsOf: URL(filePath: "/proc/self/exe"),
                options: .alwaysMapped
            )
        else { return nil }
        let digest = bytes.withUnsafeBytes { cxx_hash64($0.baseAddress, $0.count, 0) }
        let text = String(digest, radix: 16)
        return "program " + String(repeating: "0", count: 16 - text.count) + text
    }()
}

extension ReadModelDatabase {
    /// Whose reducer works here: the version that the projection declares, or the program.
    package func identity(of projection: ProjectionTables) -> String? {
        projection.version.map { "version \($0)" } ?? program
    }
}
