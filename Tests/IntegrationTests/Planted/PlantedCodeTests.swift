import Foundation
import ReadModels
import TestSupport
import Testing

/// What roles without trust plant for a job runs with their own rights or not at all, and gives nobody
/// anything.
@Suite("What others plant for a job")
struct PlantedCodeTests {
    /// Each plant with one of the jobs, or in the long form with each of them.
    private static let plants: [(name: String, job: PlantedJob)] = {
        let isLong = ProcessInfo.processInfo.environment["REPRISE_TEST_SOAK"] != nil
        let jobs = PlantedJob.allCases
        let first = Int.random(in: 0..<jobs.count)
        return Plant.all.enumerated().flatMap { number, plant in
            (isLong ? jobs : [jobs[(number + first) % jobs.count]]).map { (plant.name, $0) }
        }
    }()

    // The arguments name the job.
    @Test("runs as nobody but its owner, and changes no owner and no right", arguments: plants)
    func plant(_ name: String, job: PlantedJob) async throws {
        let plant = try #require(Plant.all.first { $0.name == name })
        try await PlantedScene.with(plant, job) { scene in
            let before = Set(try await scene.belongings())
            for step in Plant.Step.allCases {
                try await expectOutcome(of: step, for: job, in: scene)
                let strangers = try await scene.strangers()
                #expect(strangers == [], "after \(step)")
                let changes = before.symmetricDifference(try await scene.belongings()).sorted()
                #expect(changes == [], "after \(step)")
                let strays = try await scene.givenAway()
                #expect(strays == [], "after \(step)")
            }
            let isCalled = try await scene.isCalledAsOwner()
            #expect(isCalled == plant.isCalled)
        }
    }

    /// Expects that a step is done, or is refused by name and changes nothing.
    private func expectOutcome(
        of step: Plant.Step,
        for job: PlantedJob,
        in scene: PlantedScene
    ) async throws {
        let expected = scene.plant.refusal(of: step, for: job)
        let before = expected == nil ? [] : try await scene.admin.definitions()
        do {
            try await scene.run(step)
            #expect(expected == nil, "\(step) is not refused")
        } catch let error as ReadModelError {
            let text = "\(error)"
            #expect(expected.map { text.contains($0) } == true, "\(step) is refused: \(text)")
            guard expected != nil else { return }
            let changes = try await scene.admin.changes(since: before)
            #expect(changes == [], "a refused \(step) changed something")
        }
    }
}
