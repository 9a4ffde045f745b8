internal import Foundation

/// A program of this package that was built with the tests.
package struct BuiltProgram: Sendable {
    /// It was not built.
    package struct Missing: Error, CustomStringConvertible {
        /// Where it should be.
        package let description: String
    }

    /// Where it is.
    package let path: String

    /// Finds it: programs are built into the folder of the test bundle.
    ///
    /// - Parameter name: Its target's name.
    /// - Throws: ``Missing``.
    package init(_ name: String) throws {
        let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        path = URL(fileURLWithPath: bundle).deletingLastPathComponent().appending(path: name).path
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw Missing(description: "'\(name)' is not built: there is no \(path)")
        }
    }
}
