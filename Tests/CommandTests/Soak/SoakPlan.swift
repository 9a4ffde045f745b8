import TestSupport

/// What a soak does, in order: a function of the seed and of nothing else.
///
/// A fault's moment is a stage of the rebuild that it strikes, and no time on a clock.
struct SoakPlan: Equatable {
    /// One command, and what happens to somebody meanwhile.
    enum Step: Equatable {
        case rebuild(Fault?)
        case rollback
    }

    /// What is done to somebody.
    struct Fault: Equatable {
        let kind: Kind
        /// The rebuild has just said that it is there.
        let stage: String
    }

    /// Who is struck by what.
    enum Kind: String, CaseIterable {
        case toolKilled = "the tool is killed"
        case projectorKilled = "the projector is killed"
        case writerKilled = "the writer is killed"
        case toolEnded = "the tool's sessions are ended"
        case projectorEnded = "the projector's session is ended"
        case crash = "the server crashes"
    }

    static let stages = [
        "folding", "loading", "checking", "catching up", "cutting over", "pruning",
    ]

    let steps: [Step]

    /// - Parameters:
    ///   - seed: What tells one plan from another.
    ///   - rebuilds: How many.
    ///   - rollbacks: How many, spread among them.
    ///   - faults: How many of the rebuilds meet one; each kind once before any comes twice.
    init(seed: UInt64, rebuilds: Int, rollbacks: Int, faults: Int = 0) {
        var random = SeededRandom(seed: seed)
        var kinds: [Kind] = []
        while kinds.count < faults { kinds += Kind.allCases.shuffled(using: &random) }
        var rests: [Fault?] = kinds.prefix(faults).map {
            Fault(kind: $0, stage: Self.stages[Int(random.next() % UInt64(Self.stages.count))])
        }
        rests += Array(repeating: nil, count: max(0, rebuilds - faults))
        var steps: [Step] = []
        for (index, fault) in rests.enumerated() {
            steps.append(.rebuild(fault))
            // After the first rebuild there is something to go back to.
            let done = (index + 1) * rollbacks / rests.count
            if done > index * rollbacks / rests.count { steps.append(.rollback) }
        }
        self.steps = steps
    }
}

extension SoakPlan: CustomStringConvertible {
    var description: String {
        steps.map { step in
            switch step {
            case .rebuild(nil): "rebuild"
            case .rebuild(let fault?): "rebuild, while it is \(fault.stage) \(fault.kind.rawValue)"
            case .rollback: "rollback"
            }
        }.joined(separator: "; ")
    }
}
