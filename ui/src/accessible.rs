//! The accessible tree of the latest frame: what a screen reader, and a test in a real browser, find widgets by.

use egui::accesskit;
use serde::Serialize;
use std::collections::HashMap;

/// A widget as assistive technology sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Widget {
    /// Its role, as AccessKit names it.
    pub role: String,
    /// Its name.
    pub name: String,
    /// Left, top, right, bottom, in points from the top left of the window.
    pub rect: [f64; 4],
}

/// Keeps the tree of the latest frame.
#[derive(Default)]
pub struct AccessibleTree {
    widgets: Vec<Widget>,
}

impl AccessibleTree {
    /// The widgets that have a name and a place.
    pub fn widgets(&self) -> &[Widget] {
        &self.widgets
    }
}

impl egui::Plugin for AccessibleTree {
    fn debug_name(&self) -> &'static str {
        "accessible tree"
    }

    fn setup(&mut self, ctx: &egui::Context) {
        ctx.enable_accesskit();
    }

    fn output_hook(&mut self, _ctx: &egui::Context, output: &mut egui::FullOutput) {
        let Some(update) = &output.platform_output.accesskit_update else { return };
        let by_id: HashMap<_, _> = update.nodes.iter().map(|(id, node)| (*id, node)).collect();
        let own = |node: &accesskit::Node| match node.role() {
            accesskit::Role::Label => node.value().map(str::to_owned),
            _ => node.label().or(node.placeholder()).map(str::to_owned),
        };
        let widget = |node: &accesskit::Node| {
            let name = own(node).or_else(|| node.labelled_by().iter().find_map(|id| own(by_id.get(id)?)))?;
            let bounds = node.bounds()?;
            Some(Widget {
                role: format!("{:?}", node.role()),
                name,
                rect: [bounds.x0, bounds.y0, bounds.x1, bounds.y1],
            })
        };
        self.widgets = update.nodes.iter().filter_map(|(_, node)| widget(node)).collect();
    }
}
