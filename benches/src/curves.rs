//! How the cost grows: with the members of a room, with the rooms, and with the connections held.

use std::{path::Path, time::Duration};

use anyhow::Context;

use crate::{
    scenarios::{Measured, Outcome, PER_DELIVERY, RESIDENT, held, saturated},
    server::{Kind, Server},
};

/// How long a point of a curve is measured: there are many.
const MEASURED: Duration = Duration::from_millis(500);

/// One figure, against the size of the load.
pub struct Curve {
    /// What the size counts.
    pub of: &'static str,
    /// The figure.
    pub figure: &'static str,
    /// The sizes that are measured.
    pub sizes: &'static [usize],
    /// Puts a load of this size on a server.
    pub run: fn(&Server, usize) -> Outcome,
}

/// All curves, in the order of the picture.
pub const CURVES: [Curve; 3] = [
    Curve {
        of: "members of one room, saturated",
        figure: PER_DELIVERY,
        sizes: &[5, 50, 500],
        run: |server, members| saturated(server, &[members], MEASURED),
    },
    Curve {
        of: "rooms of five, saturated",
        figure: PER_DELIVERY,
        sizes: &[1, 14, 200],
        run: |server, rooms| saturated(server, &vec![5; rooms], MEASURED),
    },
    Curve {
        of: "idle connections in rooms of 100",
        figure: RESIDENT,
        sizes: &[200, 2000],
        run: |server, connections| {
            let (mut load, resident) = held(server, &vec![100; connections / 100])?;
            Ok((vec![(RESIDENT, resident)], load.take_tally()))
        },
    },
];

/// One server's figure at one size.
pub struct Point {
    /// The size of the load.
    pub size: usize,
    /// The measurement.
    pub measured: Measured,
}

impl Curve {
    /// Measures each size with each of these servers, one after the other.
    ///
    /// # Errors
    /// A server does not start, or refuses clients.
    pub fn measure(&self, kinds: &[Kind], linkroom: &Path) -> anyhow::Result<Vec<Point>> {
        let mut points = Vec::new();
        for &size in self.sizes {
            let scenario = format!("{size} {}", self.of);
            for &kind in kinds {
                let what = || format!("{scenario} against {}", kind.name());
                let server = Server::start(kind, linkroom).with_context(what)?;
                let (figures, tally) = (self.run)(&server, size).with_context(what)?;
                let scenario = scenario.clone();
                points.push(Point { size, measured: Measured { scenario, kind, figures, tally } });
            }
        }
        Ok(points)
    }
}

impl Point {
    /// The curve's figure.
    pub fn value(&self, curve: &Curve) -> Option<f64> {
        let figures = self.measured.figures.iter();
        figures.clone().find(|(name, _)| *name == curve.figure).map(|(_, value)| *value)
    }
}
