import Foundation

/// Resident memory of this process, as the kernel counts it (`proc(5)`, `/proc/pid/status`).
package enum Memory {
    /// Bytes now; 0 where the kernel does not say.
    package static var resident: Int { bytes(of: "VmRSS:") }

    /// The most there ever was, in bytes.
    package static var peak: Int { bytes(of: "VmHWM:") }

    private static func bytes(of field: String) -> Int {
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix(field) })
        else { return 0 }
        // The number is set off by tabs and spaces.
        let kilobytes = line.dropFirst(field.count).split(whereSeparator: \.isWhitespace).first
            .flatMap { Int($0) }
        return (kilobytes ?? 0) * 1_024
    }
}
