//! A native window on a server: `assay-viewer http://127.0.0.1:5151`.

use assay_ui::{App, HttpTransport};
use std::sync::Arc;

struct Native(App);

impl eframe::App for Native {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.0.ui(ui);
    }
}

fn main() -> eframe::Result {
    let base = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:5151".into());
    let viewport = egui::ViewportBuilder::default().with_title("Assay").with_inner_size([1280.0, 820.0]);
    let options = eframe::NativeOptions { viewport, ..Default::default() };
    let transport = Arc::new(HttpTransport { base: base.trim_end_matches('/').to_owned() });
    eframe::run_native("assay", options, Box::new(|cc| Ok(Box::new(Native(App::new(&cc.egui_ctx, transport))))))
}
