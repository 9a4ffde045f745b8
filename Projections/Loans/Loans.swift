public import ProjectionKit

/// The read model of a bank's loan applications, from the log of the BPI Challenge 2012
/// (doi 10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f).
///
/// A stream is an application. Events `A_…` are its states, `O_…` are states of its offers, `W_…`
/// are pieces of work, scheduled, started and completed. Other types change nothing.
public struct Loans: Projection {
    /// `loans`.
    public static let name = "loans"
    /// `Projections/Loans/schema.sql`.
    public static let schema: String? = String(
        decoding: PackageResources.schema_sql,
        as: UTF8.self
    )
    /// `Projections/Loans/setup.sql`.
    public static let setup: String? = String(
        decoding: PackageResources.setup_sql,
        as: UTF8.self
    )
    /// `Projections/Loans/checks.sql`.
    public static let checks: String? = String(
        decoding: PackageResources.checks_sql,
        as: UTF8.self
    )

    /// One row for each application.
    public var applications = Table<LoanApplication>()
    /// One row for each day and offer event.
    public var offersByDay = Table<LoanOfferDaily>()
    /// One row for each completed item of work.
    public var workItems = Table<WorkItem>()

    private var openWork = WorkingTable<OpenWork>()
    private var completedWork = WorkingTable<CompletedWork>()

    /// A bank without applications.
    public init() {}

    /// Applies one event of an application.
    public mutating func reduce(_ event: borrowing Event) throws {
        let type = event.type.name
        let kind = type.prefix(2)
        guard kind == "A_" || kind == "O_" || kind == "W_" else { return }

        let application = event.stream
        let time = event.time
        let resource = try event.payload.stringIfPresent("resource")
        let amount = try event.payload.int64IfPresent("amountRequested")
        applications[
            application,
            default: LoanApplication(application: application, firstEventAt: time)
        ].note(eventAt: time, resource: resource, amount: amount)

        switch kind {
        case "A_": decide(application, type)
        case "O_": countOffer(application, type, on: time.day)
        default:
            try work(
                OpenWork.Key(application: application, item: type),
                event.payload.string("transition"),
                at: time
            )
        }
    }

    private mutating func decide(_ application: String, _ type: String) {
        guard let state = LoanState(eventType: type) else { return }
        applications[application]?.state = state
    }

    private mutating func countOffer(_ application: String, _ type: String, on day: Day) {
        let key = LoanOfferDaily.Key(day: day, offerEvent: type)
        offersByDay[key, default: LoanOfferDaily(key: key)].events += 1
        if type == "O_CREATED" { applications[application]?.offers += 1 }
    }

    private mutating func work(
        _ key: OpenWork.Key,
        _ transition: String,
        at time: Timestamp
    ) throws {
        switch transition {
        case "SCHEDULE": break
        case "START": openWork[key] = OpenWork(key: key, startedAt: time)
        case "COMPLETE": complete(key, at: time)
        default: throw EventError("the transition is none of SCHEDULE, START and COMPLETE")
        }
    }

    private mutating func complete(_ work: OpenWork.Key, at time: Timestamp) {
        let application = work.application
        completedWork[application, default: CompletedWork(application: application)].items += 1
        let number = completedWork[application]?.items ?? 1
        let key = WorkItem.Key(application: application, number: number)
        workItems[key] = WorkItem(
            key: key,
            item: work.item,
            startedAt: openWork.remove(work)?.startedAt,
            completedAt: time
        )
    }
}

extension LoanApplication {
    fileprivate mutating func note(eventAt time: Timestamp, resource: String?, amount: Int64?) {
        firstEventAt = min(firstEventAt, time)
        lastEventAt = max(lastEventAt, time)
        if let amount { self.amount = amount }
        if let resource, !resources.contains(resource) { resources.append(resource) }
    }
}
