import LoansProjection
import ProjectionKit
import ProjectionTesting
import Testing

@Suite("Loans")
struct LoansTests {
    @Test("an application goes from submitted to approved")
    func approved() throws {
        let loans = try given(
            Loans.self,
            application("A_SUBMITTED", resource: "112", amount: 20_000),
            application("A_PARTLYSUBMITTED", resource: "112"),
            application("A_ACTIVATED", resource: "10138"),
            application("A_APPROVED", resource: nil),
            application("A_REGISTERED", resource: "112")
        )
        let loan = try #require(loans.applications["application-1"])
        #expect(loan.state == .approved)
        #expect(loan.amount == 20_000)
        #expect(loan.offers == 0)
        #expect(loan.resources == ["112", "10138"])
        #expect(loan.firstEventAt.description == "2026-01-01T00:00:00.000Z")
        #expect(loan.lastEventAt.description == "2026-01-01T00:00:04.000Z")
    }

    @Test(
        "each event of an application brings its state",
        arguments: [
            ("A_SUBMITTED", .submitted), ("A_PARTLYSUBMITTED", .partlySubmitted),
            ("A_PREACCEPTED", .preaccepted), ("A_ACCEPTED", .accepted),
            ("A_FINALIZED", .finalized), ("A_APPROVED", .approved), ("A_REGISTERED", .approved),
            ("A_ACTIVATED", .approved), ("A_DECLINED", .declined), ("A_CANCELLED", .cancelled),
            ("A_SOMETHING_NEW", .submitted),
        ] as [(String, LoanState)]
    )
    func states(type: String, state: LoanState) throws {
        let loans = try given(Loans.self, application("A_SUBMITTED"), application(type))
        #expect(loans.applications["application-1"]?.state == state)
    }

    @Test("the first and last event are those by time")
    func times() throws {
        let loans = try given(
            Loans.self,
            application("A_SUBMITTED", at: "2026-01-01T12:00:01Z"),
            application("A_DECLINED", at: "2026-01-01T12:00:00Z")
        )
        let loan = try #require(loans.applications["application-1"])
        #expect(loan.firstEventAt == Timestamp("2026-01-01T12:00:00Z"))
        #expect(loan.lastEventAt == Timestamp("2026-01-01T12:00:01Z"))
    }

    @Test("offers are counted for the application and for the day in UTC")
    func offers() throws {
        let loans = try given(
            Loans.self,
            application("O_CREATED", at: "2026-01-01T23:59:59+00:00"),
            application("O_CREATED", at: "2026-01-02T00:30:00+01:00"),
            application("O_CREATED", at: "2026-01-02T00:00:00Z"),
            application("O_SENT", at: "2026-01-02T00:00:01Z")
        )
        #expect(loans.applications["application-1"]?.offers == 3)
        let counts = loans.offersByDay.rows.map {
            "\($0.key.day) \($0.key.offerEvent) \($0.events)"
        }
        #expect(
            counts == ["2026-01-01 O_CREATED 2", "2026-01-02 O_CREATED 1", "2026-01-02 O_SENT 1"]
        )
    }

    @Test("a completed item is paired with the open start of the same item")
    func workItems() throws {
        let loans = try given(
            Loans.self,
            work("W_Call", "SCHEDULE"),
            work("W_Call", "START", at: "2026-01-01T10:00:00Z"),
            work("W_Check", "START", at: "2026-01-01T10:01:00Z"),
            work("W_Call", "COMPLETE", at: "2026-01-01T10:01:30Z"),
            work("W_Call", "COMPLETE", at: "2026-01-01T10:02:00Z"),
            work("W_Check", "START", at: "2026-01-01T10:03:00Z"),
            work("W_Check", "COMPLETE", at: "2026-01-01T10:07:00Z")
        )
        let items = loans.workItems.rows
        #expect(items.map(\.key.number) == [1, 2, 3])
        #expect(items.map(\.item) == ["W_Call", "W_Call", "W_Check"])
        #expect(items.map(\.minutes) == [1.5, nil, 4])
        #expect(items[1].startedAt == nil)
        #expect(items[1].completedAt == Timestamp("2026-01-01T10:02:00Z"))
    }

    @Test("items are numbered and paired within their application")
    func applications() throws {
        let loans = try given(
            Loans.self,
            work("W_Call", "START", stream: "a"),
            work("W_Call", "COMPLETE", stream: "b"),
            work("W_Call", "COMPLETE", stream: "a")
        )
        #expect(loans.workItems[WorkItem.Key(application: "b", number: 1)]?.startedAt == nil)
        #expect(loans.workItems[WorkItem.Key(application: "a", number: 1)]?.startedAt != nil)
        #expect(loans.applications.count == 2)
    }

    @Test("working state is not for readers")
    func workingState() {
        let fold = Loans.makeFold()
        #expect(fold.tables.map(\.name) == ["loan_application", "loan_offer_daily", "work_item"])
        #expect(fold.workingTables.count == 2)
    }

    @Test("a transition it does not know is refused")
    func unknownTransition() throws {
        let rejected = try #require(throws: RejectedEvent.self) {
            try given(Loans.self, work("W_Call", "PAUSE"))
        }
        #expect(rejected.reason == "the transition is none of SCHEDULE, START and COMPLETE")
    }

    @Test("an event of another kind changes nothing")
    func otherKinds() throws {
        let loans = try given(Loans.self, GivenEvent("OrderPlaced"), GivenEvent("A"))
        #expect(loans.applications.isEmpty)
    }

    private func application(
        _ type: String,
        at time: String? = nil,
        resource: String? = "112",
        amount: Int? = nil
    ) -> GivenEvent {
        let rest =
            (resource.map { #","resource":"\#($0)""# } ?? "")
            + (amount.map { #","amountRequested":\#($0)"# } ?? "")
        return GivenEvent(
            type,
            stream: "application-1",
            at: time,
            data: #"{"transition":"COMPLETE"\#(rest)}"#
        )
    }

    private func work(
        _ item: String,
        _ transition: String,
        stream: String = "application-1",
        at time: String? = nil
    ) -> GivenEvent {
        GivenEvent(item, stream: stream, at: time, data: #"{"transition":"\#(transition)"}"#)
    }
}
