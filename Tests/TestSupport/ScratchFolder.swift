internal import Foundation

/// Runs `body` with the path of a new, empty folder, and removes it afterwards.
package func withScratchFolder<R>(
    isolation: isolated (any Actor)? = #isolation,
    _ body: (String) async throws -> R
) async throws -> R {
    let folder = FileManager.default.temporaryDirectory
        .appendingPathComponent("reprise-test-\(UUID().uuidString.lowercased())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    defer {
        // What cannot be removed stays in the system's folder for temporary files.
        try? FileManager.default.removeItem(at: folder)
    }
    return try await body(folder.path)
}
