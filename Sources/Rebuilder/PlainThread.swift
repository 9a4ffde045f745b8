import Glibc

/// Threads whose start can fail and then says so.
package enum PlainThread {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Starts a thread that nobody waits for.
    ///
    /// - Parameters:
    ///   - stackSize: Bytes; nil for as many as other threads have.
    ///   - body: What it does.
    /// - Returns: Whether there is one.
    package static func start(stackSize: Int? = nil, _ body: @escaping @Sendable () -> Void) -> Bool
    {
        let attributes = UnsafeMutablePointer<pthread_attr_t>.allocate(capacity: 1)
        defer { attributes.deallocate() }
        pthread_attr_init(attributes)
        defer { pthread_attr_destroy(attributes) }
        if let stackSize { pthread_attr_setstacksize(attributes, stackSize) }
        pthread_attr_setdetachstate(attributes, Int32(PTHREAD_CREATE_DETACHED))
        let argument = Unmanaged.passRetained(Body(body))
        var thread: pthread_t = 0
        let code = pthread_create(
            &thread,
            attributes,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            },
            argument.toOpaque()
        )
        if code != 0 { argument.release() }
        return code == 0
    }

    /// Starts a thread that nobody waits for, and tries for 3 s.
    ///
    /// - Parameter body: What it does.
    /// - Returns: Whether there is one.
    package static func startPatiently(_ body: @escaping @Sendable () -> Void) -> Bool {
        for attempt in 0..<30 {
            if attempt > 0 { usleep(100_000) }
            if start(body) { return true }
        }
        return false
    }

    /// Whether a thread as others make them can be started now.
    package static var canStart: Bool {
        var thread: pthread_t = 0
        guard pthread_create(&thread, nil, { _ in nil }, nil) == 0 else { return false }
        pthread_join(thread, nil)
        return true
    }
}

/// The machine gives the process no further file descriptor.
package struct DescriptorShortage: Error, CustomStringConvertible {
    /// What happened, what readers see, and what to type.
    package let description = """
        No file can be opened: the limit on open files (ulimit -n) is too small.
        The live tables are whole: what was not committed is undone.
        Raise the limit, then run the same command again.
        """

    package init() {}
}

/// The machine gives the process no further thread.
package struct ThreadShortage: Error, CustomStringConvertible {
    /// What happened, what readers see, and what to type.
    package let description = """
        No thread can be started: the limit on address space (ulimit -v) or on processes \
        (ulimit -u) is too small.
        The live tables are whole: what was not committed is undone.
        Raise the limit, then run the same command again.
        """

    package init() {}
}
