// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "shelf",
    dependencies: [.package(name: "reprise", path: "../..")],
    targets: [
        .target(
            name: "LinesLedger",
            dependencies: [
                .product(name: "LedgerKit", package: "reprise"),
                .product(name: "ProjectionKit", package: "reprise"),
            ]
        ),
        .executableTarget(
            name: "shelf",
            dependencies: [
                "LinesLedger",
                .product(name: "ProjectionKit", package: "reprise"),
                .product(name: "LedgerKit", package: "reprise"),
                .product(name: "RepriseCommand", package: "reprise"),
            ]
        ),
        .testTarget(
            name: "LinesLedgerTests",
            dependencies: [
                "LinesLedger",
                .product(name: "LedgerKit", package: "reprise"),
                .product(name: "ProjectionKit", package: "reprise"),
                .product(name: "LedgerConformance", package: "reprise"),
            ]
        ),
    ]
)
