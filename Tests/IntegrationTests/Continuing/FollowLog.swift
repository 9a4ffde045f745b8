import ReadModels
import Rebuilder
import Synchronization

/// What a follower has told.
final class FollowLog: Sendable {
    private let progress = Mutex<[FollowProgress]>([])

    func take(_ step: FollowProgress) { progress.withLock { $0.append(step) } }

    private var all: [FollowProgress] { progress.withLock { $0 } }

    var obstacles: [String?] {
        all.compactMap { if case .attached(_, let obstacle) = $0 { .some(obstacle) } else { nil } }
    }

    var warnings: [String] {
        all.compactMap { if case .warning(let text) = $0 { text } else { nil } }
    }

    var last: FollowReport? {
        all.compactMap { if case .report(let report) = $0 { report } else { nil } }.last
    }
}
