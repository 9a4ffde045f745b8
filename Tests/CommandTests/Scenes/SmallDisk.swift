import Foundation
import Glibc
import TestSupport
import Testing

/// A file system of a few megabytes, which is really full when it is full.
struct SmallDisk {
    /// It cannot be made or filled.
    struct Failed: Error, CustomStringConvertible {
        let description: String
    }

    /// A folder on it that belongs to the user of private servers.
    let folder: String
    private let mount: String

    /// Runs `body` with one; nil where this user may not mount a file system.
    static func with<Result: Sendable>(
        mebibytes: Int,
        _ body: (SmallDisk) async throws -> Result
    ) async throws -> Result? {
        try await withScratchFolder { folder in
            let size = "size=\(mebibytes)m"
            let mounted = try await ChildProcess.run(
                "mount",
                ["-t", "tmpfs", "-o", size, "reprise-test", folder]
            )
            guard mounted.status == 0 else {
                // Root alone can mount, and there is no other way to fill a disk and harm nobody.
                print("NOT TESTED: \(mounted.standardError)")
                return nil
            }
            do {
                let disk = SmallDisk(folder: "\(folder)/data", mount: folder)
                let user = PrivateServer.serverUser
                try await shell("install -d -m 0700 -o \(user) '\(disk.folder)'")
                let result = try await body(disk)
                try await shell("umount '\(folder)'")
                return result
            } catch {
                // The first error is the one worth reading.
                try? await shell("umount -l '\(folder)'")
                throw error
            }
        }
    }

    /// Fills it but for so many bytes.
    func fill(leaving bytes: Int64) async throws {
        try await Self.shell(
            """
            free=$(df --block-size=1 --output=avail '\(mount)' | tail -1)
            head -c $((free - \(bytes))) /dev/zero > '\(mount)/filler'
            """
        )
    }

    private static func shell(_ script: String) async throws {
        let outcome = try await ChildProcess.run("sh", ["-ec", script])
        guard outcome.status == 0 else { throw Failed(description: outcome.standardError) }
    }
}
