package import ReadModels
import Wording

/// Command lines that are run before and after every cut-over: swap, rollback and truncate.
///
/// They run one after the other, the ones before while no lock is held, the ones after when the
/// cut-over is committed.
package struct Hooks: Equatable, Sendable {
    /// When a hook runs; the raw values are its names in the settings file.
    package enum Moment: String, Sendable {
        case before = "before_swap"
        case after = "after_swap"

        /// The stage of a run that is at it.
        var stage: RebuildStage {
            switch self {
            case .before: .beforeSwap
            case .after: .afterSwap
            }
        }
    }

    /// Run before: each can stop the cut-over.
    package var beforeSwap: [String]
    /// Run after: the new generation is live, whatever they say.
    package var afterSwap: [String]
    /// Seconds that each may take.
    package var timeout: Double

    /// Makes a list of hooks.
    package init(beforeSwap: [String] = [], afterSwap: [String] = [], timeout: Double = 600) {
        self.beforeSwap = beforeSwap
        self.afterSwap = afterSwap
        self.timeout = timeout
    }

    /// Whether there are none.
    var isEmpty: Bool { beforeSwap.isEmpty && afterSwap.isEmpty }

    /// The ones of a moment.
    func commands(_ moment: Moment) -> [String] {
        switch moment {
        case .before: beforeSwap
        case .after: afterSwap
        }
    }

    /// Runs the ones of a moment; the first that fails is the last.
    ///
    /// - Throws: ``HookError``; `CancellationError` when the hook's process group has ended.
    func run(_ moment: Moment, of cutOver: AnnouncedCutOver) async throws {
        let commands = commands(moment)
        for (index, command) in commands.enumerated() {
            let ending = try await HookProcess.run(
                command,
                environment: cutOver.environment,
                timeout: timeout
            )
            guard ending == .exited(0) else {
                throw HookError(
                    moment: moment,
                    number: index + 1,
                    count: commands.count,
                    ending: ending,
                    cutOver: cutOver
                )
            }
        }
    }
}

/// A cut-over as hooks are told of it.
package struct AnnouncedCutOver: Equatable, Sendable {
    let projection: String
    let kind: CutOverKind
    /// The generation that goes live.
    let generation: Int
    /// The one that is live until then; nil when there is none.
    let previous: Int?
    let run: Int64
    /// Where the generation that goes live stands in the ledger.
    let position: String?

    /// Makes one.
    package init(
        projection: String,
        kind: CutOverKind,
        generation: Int,
        previous: Int?,
        run: Int64,
        position: String?
    ) {
        self.projection = projection
        self.kind = kind
        self.generation = generation
        self.previous = previous
        self.run = run
        self.position = position
    }

    /// What a hook finds in its environment; empty where there is none.
    var environment: [String: String] {
        [
            "REPRISE_PROJECTION": projection,
            "REPRISE_KIND": kind.rawValue,
            "REPRISE_GENERATION": String(generation),
            "REPRISE_PREVIOUS_GENERATION": previous.map(String.init) ?? "",
            "REPRISE_RUN": String(run),
            "REPRISE_POSITION": position ?? "",
        ]
    }
}

/// A hook failed.
///
/// Its command line is not part of the message: it can hold a password.
package struct HookError: Error, Equatable {
    /// When it ran.
    package let moment: Hooks.Moment
    let number: Int
    let count: Int
    let ending: HookEnding
    let cutOver: AnnouncedCutOver

    /// Makes one of hook `number` of `count`.
    package init(
        moment: Hooks.Moment,
        number: Int,
        count: Int,
        ending: HookEnding,
        cutOver: AnnouncedCutOver
    ) {
        self.moment = moment
        self.number = number
        self.count = count
        self.ending = ending
        self.cutOver = cutOver
    }
}

extension HookError: CustomStringConvertible {
    /// The three-part message that is printed on standard error.
    package var description: String {
        let which = count > 1 ? " \(number) of \(count)" : ""
        let what = "The hook \(moment.rawValue)\(which) of '\(cutOver.projection)' \(how)."
        return switch moment {
        case .before:
            "\(what)\nThe live tables are unchanged.\n\(nextBefore)"
        case .after:
            """
            \(what)\(number < count ? " The hooks after it did not run." : "")
            Readers see generation \(cutOver.generation), whole.
            Fix the cause and do by hand what the hook should have done; \(wayBack).
            """
        }
    }

    private var how: String {
        switch ending {
        case .exited(let status): "ended with status \(status)"
        case .signalled(let number): "was ended by signal \(number)"
        case .notStarted(let reason): "could not be started: \(reason)"
        case .tookTooLong(let seconds): "took longer than \(seconds) s and was ended"
        }
    }

    private var nextBefore: String {
        let (name, generation) = (cutOver.projection, cutOver.generation)
        return switch cutOver.kind {
        case .swap:
            "Generation \(generation) is ready: fix what the hook says, then run '\(ProgramName.current) swap "
                + "\(name) --generation \(generation)'."
        case .rollback:
            "Fix what the hook says, then run '\(ProgramName.current) rollback \(name)' again."
        case .truncate:
            "Fix what the hook says, then run '\(ProgramName.current) rebuild \(name) --strategy truncate' again."
        }
    }

    private var wayBack: String {
        let name = cutOver.projection
        return switch cutOver.kind {
        case .swap: "'\(ProgramName.current) rollback \(name)' goes back"
        case .rollback: "'\(ProgramName.current) swap \(name) --allow-older' goes back"
        case .truncate: "'\(ProgramName.current) status \(name)' shows what is live"
        }
    }
}
