/// Lets a few in at a time, in the order in which they came.
///
/// Swift Testing starts every case at once, and a server has room for so many connections only.
package actor Turnstile {
    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// A turnstile with that many places behind it.
    package init(places: Int) {
        free = places
    }

    /// Waits for a place, and keeps it until `body` ends.
    package nonisolated func pass<Result: Sendable>(
        _ body: () async throws -> Result
    ) async throws -> Result {
        await enter()
        do {
            let result = try await body()
            await leave()
            return result
        } catch {
            await leave()
            throw error
        }
    }

    private func enter() async {
        if free > 0 {
            free -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    private func leave() {
        if waiting.isEmpty {
            free += 1
        } else {
            waiting.removeFirst().resume()
        }
    }
}
