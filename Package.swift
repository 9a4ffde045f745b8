// swift-tools-version: 6.2
import PackageDescription

// Set by Fuzz/run alone: the driver has no `main` without libFuzzer, and nobody else compiles it.
let isFuzzing = Context.environment["REPRISE_FUZZ"] != nil

let houseRules: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let fuzzed: [Target.Dependency] = [
    "ProjectionKit", "LedgerKit", "Ledgers", "Postgres", "ReadModels", "RepriseCommand",
    "Wording",
]

// The arrows between the targets are the architecture: what is not listed here cannot be imported
// (`make` builds with --explicit-target-dependency-import-check error). ARCHITECTURE.md says what
// each missing arrow promises.
let package = Package(
    name: "reprise",
    products: [
        .executable(name: "reprise", targets: ["reprise"]),
        .library(name: "RepriseCommand", targets: ["RepriseCommand"]),
        .library(name: "ProjectionKit", targets: ["ProjectionKit"]),
        .library(name: "ProjectionTesting", targets: ["ProjectionTesting"]),
        .library(name: "LedgerKit", targets: ["LedgerKit"]),
        .library(name: "LedgerConformance", targets: ["LedgerConformance"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(
            url: "https://github.com/apple/swift-configuration",
            exact: "1.4.0",
            traits: ["YAML"]
        ),
    ],
    targets: [
        .systemLibrary(
            name: "CLibPQ",
            pkgConfig: "libpq",
            providers: [.apt(["libpq-dev"])]
        ),
        .systemLibrary(
            name: "CSQLite",
            pkgConfig: "sqlite3",
            providers: [.apt(["libsqlite3-dev"])]
        ),
        .systemLibrary(
            name: "CZlib",
            pkgConfig: "zlib",
            providers: [.apt(["zlib1g-dev"])]
        ),
        .systemLibrary(
            name: "CZstd",
            pkgConfig: "libzstd",
            providers: [.apt(["libzstd-dev"])]
        ),
        .target(
            name: "CXXHash"
        ),
        .target(
            name: "CCrashReport"
        ),
        .target(
            name: "CProgramImage"
        ),
        .target(
            name: "CSignalPipe"
        ),
        // Linked for what it does before `main`; nothing imports it.
        .target(
            name: "CStandardStreams"
        ),
        .target(
            name: "CSimdJSON",
            linkerSettings: [.linkedLibrary("simdjson")]
        ),

        .target(
            name: "Wording",
            swiftSettings: houseRules
        ),
        .target(
            name: "ProjectionKit",
            dependencies: ["CCrashReport", "CSimdJSON", "Wording"],
            swiftSettings: houseRules
        ),
        .target(
            name: "ProjectionTesting",
            dependencies: ["ProjectionKit"],
            swiftSettings: houseRules
        ),
        .target(
            name: "LedgerKit",
            dependencies: ["ProjectionKit"],
            swiftSettings: houseRules
        ),
        .target(
            name: "LedgerConformance",
            dependencies: ["ProjectionKit", "LedgerKit"],
            swiftSettings: houseRules
        ),
        .target(
            name: "Migrations",
            path: "migrations",
            exclude: [
                "ledger/0001_events.md", "ledger/0002_append_order.md",
                "postgres/0001_bookkeeping.md",
                "postgres/0002_cut_over_records.md", "postgres/0003_followers.md",
                "postgres/0004_foreign_keys.md", "postgres/0005_session_locks.md",
                "postgres/0006_silent_sessions.md",
                "postgres/0007_provenance.md",
                "postgres/0008_follower_errors.md",
            ],
            resources: [
                .embedInCode("ledger/0001_events.sql"),
                .embedInCode("ledger/0002_append_order.sql"),
                .embedInCode("postgres/0001_bookkeeping.sql"),
                .embedInCode("postgres/0002_cut_over_records.sql"),
                .embedInCode("postgres/0003_followers.sql"),
                .embedInCode("postgres/0004_foreign_keys.sql"),
                .embedInCode("postgres/0005_session_locks.sql"),
                .embedInCode("postgres/0006_silent_sessions.sql"),
                .embedInCode("postgres/0007_provenance.sql"),
                .embedInCode("postgres/0008_follower_errors.sql"),
            ],
            swiftSettings: houseRules
        ),
        .target(
            name: "Postgres",
            dependencies: ["CLibPQ", "Wording"],
            swiftSettings: houseRules
        ),
        .target(
            name: "Ledgers",
            dependencies: [
                "ProjectionKit", "LedgerKit", "Wording", "CSQLite", "CZlib", "CZstd", "CXXHash",
                "Migrations",
            ],
            swiftSettings: houseRules
        ),
        .target(
            name: "ReadModels",
            dependencies: [
                "ProjectionKit", "Postgres", "Wording", "Migrations", "CProgramImage", "CXXHash",
            ],
            swiftSettings: houseRules
        ),
        .target(
            name: "Rebuilder",
            dependencies: ["ProjectionKit", "LedgerKit", "ReadModels", "Wording"],
            swiftSettings: houseRules
        ),
        .target(
            name: "RepriseCommand",
            dependencies: [
                "ProjectionKit", "LedgerKit", "Ledgers", "ReadModels", "Rebuilder", "Wording",
                "CSignalPipe", "CStandardStreams",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Configuration", package: "swift-configuration"),
            ],
            swiftSettings: houseRules
        ),

        .target(
            name: "ShopProjection",
            dependencies: ["ProjectionKit"],
            path: "Projections/Shop",
            resources: [.embedInCode("schema.sql"), .embedInCode("checks.sql")],
            swiftSettings: houseRules
        ),
        .target(
            name: "LoansProjection",
            dependencies: ["ProjectionKit"],
            path: "Projections/Loans",
            resources: [
                .embedInCode("setup.sql"), .embedInCode("schema.sql"), .embedInCode("checks.sql"),
            ],
            swiftSettings: houseRules
        ),
        .target(
            name: "FulfilmentProjection",
            dependencies: ["ProjectionKit"],
            path: "Projections/Fulfilment",
            resources: [.embedInCode("schema.sql"), .embedInCode("checks.sql")],
            swiftSettings: houseRules
        ),
        .target(
            name: "Projections",
            dependencies: [
                "ProjectionKit", "ShopProjection", "LoansProjection", "FulfilmentProjection",
            ],
            path: "Projections",
            exclude: ["Shop", "Loans", "Fulfilment"],
            sources: ["Registry.swift"],
            swiftSettings: houseRules
        ),
        .executableTarget(
            name: "reprise",
            dependencies: ["RepriseCommand", "Projections"],
            swiftSettings: houseRules
        ),

        .executableTarget(
            name: "LiveProjectorExample",
            dependencies: ["ProjectionKit", "LedgerKit", "Ledgers", "Postgres"],
            path: "examples/live_projector",
            exclude: ["README.md", "projector.py"],
            swiftSettings: houseRules
        ),

        // Measured, not shipped: no product names them.
        .target(
            name: "AllocationCount",
            path: "Benchmarks/AllocationCount"
        ),
        .executableTarget(
            name: "FoldCost",
            dependencies: [
                "ProjectionKit", "LedgerKit", "Ledgers", "Rebuilder", "ShopProjection",
                "FulfilmentProjection",
                "AllocationCount",
            ],
            path: "Benchmarks/FoldCost",
            swiftSettings: houseRules
        ),

        .executableTarget(
            name: "RepriseTotals",
            dependencies: ["ProjectionKit", "RepriseCommand", "ShopProjection"],
            path: "Benchmarks/Totals",
            resources: [.embedInCode("schema.sql")],
            swiftSettings: houseRules
        ),

        // A team's program with every mistake that its author can make; only tests run it.
        .executableTarget(
            name: "mistaken",
            dependencies: ["ProjectionKit", "LedgerKit", "RepriseCommand"],
            path: "Tests/Mistaken",
            swiftSettings: houseRules
        ),

        .target(
            name: "TestSupport",
            dependencies: [
                "ProjectionKit", "LedgerKit", "Ledgers", "Postgres", "ReadModels", "Rebuilder",
            ],
            path: "Tests/TestSupport",
            swiftSettings: houseRules
        ),
        .testTarget(
            name: "UnitTests",
            dependencies: [
                "TestSupport", "ProjectionKit", "ProjectionTesting", "LedgerKit",
                "LedgerConformance",
                "Ledgers", "Postgres",
                "ReadModels", "Rebuilder", "RepriseCommand", "Wording", "ShopProjection",
                "LoansProjection",
            ],
            swiftSettings: houseRules
        ),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "TestSupport", "ProjectionKit", "LedgerKit", "LedgerConformance", "Ledgers",
                "Postgres",
                "Migrations",
                "ReadModels", "Rebuilder",
                "ShopProjection", "LoansProjection", "FulfilmentProjection",
            ],
            swiftSettings: houseRules
        ),
        .executableTarget(
            name: "Weighing",
            dependencies: ["ProjectionKit", "RepriseCommand"],
            path: "Tests/Weighing",
            exclude: ["schedule.py"],
            swiftSettings: houseRules
        ),
        .testTarget(
            name: "CommandTests",
            dependencies: [
                "TestSupport", "ProjectionKit", "LedgerKit", "Postgres", "Ledgers", "Wording",
            ],
            swiftSettings: houseRules
        ),
    ],
    cxxLanguageStandard: .cxx17
)

// The same functions for both: libFuzzer calls them, and so does a test, with the inputs on record.
package.targets.append(
    isFuzzing
        ? .executableTarget(
            name: "Fuzz",
            dependencies: fuzzed,
            path: "Fuzz",
            exclude: ["Corpus", "README.md", "Tests", "leaks.txt", "run"],
            swiftSettings: houseRules
        )
        : .testTarget(
            name: "FuzzTests",
            dependencies: fuzzed + ["TestSupport"],
            path: "Fuzz",
            exclude: ["Corpus", "Driver", "README.md", "leaks.txt", "run"],
            swiftSettings: houseRules
        )
)
