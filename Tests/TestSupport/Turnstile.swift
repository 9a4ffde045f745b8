/// Lets a few in at a time, in the order in which they came.
///
/// Swift Testing starts every case at once, and a server has room for so many connections only.
package struct Turnstile: Sendable {
    private let places: Places

    /// A turnstile with that many places behind it.
    package init(places: Int) {
        self.places = Places(free: places)
    }

    /// Waits for a place, and keeps it until `body` ends.
    ///
    /// - Parameters:
    ///   - isolation: The caller's; `body` runs there.
    ///   - body: What is done in the place.
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws.
    package func pass<Result: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> Result
    ) async throws -> Result {
        await places.enter()
        do {
            let result = try await body()
            await places.leave()
            return result
        } catch {
            await places.leave()
            throw error
        }
    }

}

private actor Places {
    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(free: Int) {
        self.free = free
    }

    func enter() async {
        if free > 0 {
            free -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    func leave() {
        if waiting.isEmpty {
            free += 1
        } else {
            waiting.removeFirst().resume()
        }
    }
}
