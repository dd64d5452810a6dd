//! The browser and the desktop window.

use crate::{AccessibleTree, App, HttpTransport, Route};
use eframe::WebRunner;
use std::sync::Arc;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

struct Web {
    app: App,
    /// What was written to, or read from, the address bar last.
    address: String,
}

impl eframe::App for Web {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        let typed = eframe::web::location_hash();
        if typed.trim_start_matches('#') != self.address {
            self.address = typed.trim_start_matches('#').to_owned();
            self.app.go(Route::parse(&self.address));
        }
        self.app.ui(ui);
        let address = self.app.route().address();
        if address != self.address {
            if let Some(window) = web_sys::window() {
                let _ = window.location().set_hash(&address); // the place is shown all the same
            }
            self.address = address;
        }
    }

    fn as_any_mut(&mut self) -> Option<&mut dyn std::any::Any> {
        Some(&mut *self)
    }
}

/// The running interface, for the page around it.
#[wasm_bindgen]
pub struct Handle {
    runner: WebRunner,
    ctx: egui::Context,
}

#[wasm_bindgen]
impl Handle {
    /// The accessible tree as JSON: role, name and rectangle of each widget.
    pub fn widgets(&self) -> String {
        let widgets = self.ctx.with_plugin(|tree: &mut AccessibleTree| tree.widgets().to_vec()).unwrap_or_default();
        serde_json::to_string(&widgets).unwrap_or_default()
    }

    /// Predicts an image, as when it is dropped on the window.
    pub fn offer_image(&self, bytes: Vec<u8>) {
        if let Some(mut web) = self.runner.app_mut::<Web>() {
            web.app.offer_image(bytes);
        }
        self.ctx.request_repaint();
    }

    /// Opens the import form with a path, as when a folder is dropped on the window.
    pub fn offer_import(&self, source: &str) {
        if let Some(mut web) = self.runner.app_mut::<Web>() {
            web.app.offer_import(source);
        }
        self.ctx.request_repaint();
    }
}

/// Makes the canvas's surface before eframe asks for it, and gets this one: egui smooths its edges itself and draws from back to
/// front, so that four samples of each pixel and a depth would only cost time, most of it where no GPU draws.
fn choose_surface(canvas: &web_sys::HtmlCanvasElement) -> Result<(), JsValue> {
    let wanted = web_sys::WebGlContextAttributes::new();
    wanted.set_antialias(false);
    wanted.set_depth(false);
    canvas.get_context_with_context_options("webgl2", &wanted)?; // where there is none, eframe takes WebGL 1 or says so
    Ok(())
}

/// Starts the interface in the canvas of this id.
#[wasm_bindgen]
pub async fn start(canvas: &str) -> Result<Handle, JsValue> {
    let element = web_sys::window()
        .and_then(|window| window.document())
        .and_then(|document| document.get_element_by_id(canvas))
        .ok_or_else(|| JsValue::from_str("the page has no such canvas"))?;
    let canvas: web_sys::HtmlCanvasElement = element.dyn_into()?;
    choose_surface(&canvas)?;
    let runner = WebRunner::new();
    let context = std::rc::Rc::new(std::cell::RefCell::new(None));
    let made = context.clone();
    let creator: eframe::AppCreator<'static> = Box::new(move |cc| {
        *made.borrow_mut() = Some(cc.egui_ctx.clone());
        let transport = Arc::new(HttpTransport { base: String::new() });
        let mut app = App::new(&cc.egui_ctx, transport);
        let address = eframe::web::location_hash().trim_start_matches('#').to_owned();
        app.go(Route::parse(&address));
        Ok(Box::new(Web { app, address }))
    });
    let options = eframe::WebOptions { dithering: false, ..eframe::WebOptions::default() };
    runner.start(canvas, options, creator).await?;
    let ctx = context.borrow().clone().ok_or_else(|| JsValue::from_str("the interface did not start"))?;
    Ok(Handle { runner, ctx })
}
