//! The picture of the table: instructions over operations in flight.

use anyhow::Result;
use plotters::prelude::*;

use super::table::{Depth, Pair};
use crate::cargo;

const SIZE: (u32, u32) = (720, 400);
const FONT: (&str, u32) = ("sans-serif", 14);

pub fn draw(depths: &[Depth]) -> Result<()> {
    let file = cargo::workspace().join("docs/in-flight.svg");
    draw_into(&SVGBackend::new(&file, SIZE).into_drawing_area(), depths)?;
    println!("drawn into {}", file.display());
    Ok(())
}

fn draw_into<B: DrawingBackend<ErrorType: 'static>>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    depths: &[Depth],
) -> Result<()> {
    let most_in_flight = depths.iter().map(|depth| depth.in_flight).max().unwrap_or(1);
    let most = depths.iter().map(|depth| depth.instructions.library).max().unwrap_or(1);
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(40)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d((1..most_in_flight).log_scale(), 0..most + most / 4)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("operations in flight")
        .y_desc("instructions an operation")
        .label_style(FONT)
        .draw()?;
    for (side, color) in [("library", BLUE), ("by hand", RED)] {
        let points = depths.iter().map(|Depth { in_flight, instructions, .. }| {
            let Pair { by_hand, library } = *instructions;
            (*in_flight, if side == "library" { library } else { by_hand })
        });
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(4))?
            .label(side)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .label_font(FONT)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    Ok(area.present()?)
}
