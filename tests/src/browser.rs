//! The main path in a real browser: import, train, label, review.

use crate::harness::{Workspace, colors, digits, keep_picture, kill};
use anyhow::{Context, Result, bail};
use fantoccini::actions::{InputSource, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions, PointerAction};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde::Deserialize;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Browser {
    driver: Child,
    page: Client,
}

/// A widget of the page's accessible tree.
#[derive(Deserialize)]
struct Widget {
    role: String,
    name: String,
    rect: [f64; 4],
}

impl Browser {
    async fn open(address: &str) -> Result<Browser> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("chromedriver does not start; install chromium-driver")?;
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--window-size=1360,960",
        ];
        let mut wanted = fantoccini::wd::Capabilities::new();
        wanted.insert("goog:chromeOptions".into(), serde_json::json!({ "args": arguments }));
        let connected = crate::harness::until("chromedriver answers", async || {
            let mut client = ClientBuilder::new(HttpConnector::new());
            client.capabilities(wanted.clone()).connect(&format!("http://127.0.0.1:{port}")).await.ok()
        });
        let page = match connected.await {
            Ok(page) => page,
            Err(error) => {
                kill(&mut driver);
                return Err(error);
            }
        };
        let browser = Browser { driver, page };
        browser.page.goto(address).await?;
        Ok(browser)
    }

    async fn widgets(&self) -> Result<Vec<Widget>> {
        let script = "return window.assay?.widgets ? window.assay.widgets() : '[]'";
        let text = self.page.execute(script, vec![]).await?;
        Ok(serde_json::from_str(text.as_str().unwrap_or("[]"))?)
    }

    /// Waits for a widget whose name begins so (text fields and buttons before plain text).
    async fn find(&self, name: &str) -> Result<Widget> {
        let begun = Instant::now();
        loop {
            let mut found: Vec<Widget> =
                self.widgets().await?.into_iter().filter(|widget| widget.name.starts_with(name)).collect();
            found.sort_by_key(|widget| (widget.role == "Label", widget.name.len()));
            if let Some(widget) = found.into_iter().next() {
                return Ok(widget);
            }
            if begun.elapsed() > Duration::from_secs(90) {
                let names: Vec<String> = self.widgets().await?.into_iter().map(|widget| widget.name).collect();
                keep_picture("browser-stuck", &self.page.screenshot().await?);
                bail!("{name:?} is not on the page: {names:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn click(&self, name: &str) -> Result<()> {
        let [left, top, right, bottom] = self.find(name).await?.rect;
        let mouse = MouseActions::new("mouse".into())
            .then(PointerAction::MoveTo { duration: None, x: (left + right) / 2.0, y: (top + bottom) / 2.0 })
            .then(PointerAction::Down { button: MOUSE_BUTTON_LEFT })
            .then(PointerAction::Up { button: MOUSE_BUTTON_LEFT });
        Ok(self.page.perform_actions(mouse).await?)
    }

    async fn press(&self, text: &str) -> Result<()> {
        let mut keys = KeyActions::new("keys".into());
        for value in text.chars() {
            keys = keys.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        Ok(self.page.perform_actions(keys).await?)
    }

    /// Keeps a picture once it stands still: images and charts arrive a moment after the words around them.
    async fn picture(&self, name: &str) -> Result<()> {
        let mut before = Vec::new();
        let drawn = crate::harness::until("the page is drawn and stands still", async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = self.page.screenshot().await.ok()?;
            let is_still = now == before && colors(&now) > 50;
            before = now;
            is_still.then_some(())
        });
        let drawn = drawn.await;
        keep_picture(name, &before);
        drawn
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        kill(&mut self.driver);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_browser_images_become_a_reviewed_model() -> Result<()> {
    let workspace = Workspace::new();
    let serving = workspace.serve();
    let browser = Browser::open(&serving.address).await?;
    browser.find("No runs yet").await?;
    browser.picture("browser-empty").await?;

    browser.click("Data").await?;
    browser.click("Import images…").await?;
    browser.click("Path").await?;
    browser.press(&digits().canonicalize()?.display().to_string()).await?;
    browser.click("Import").await?;
    browser.find("1797 images").await?;
    browser.find("0/0000.png").await?;
    browser.picture("browser-data").await?;

    browser.click("Runs").await?;
    browser.click("New run…").await?;
    browser.find("Start run").await?;
    browser.picture("browser-new-run").await?;
    browser.click("Start run").await?;
    browser.find("Chart of Loss").await?;
    browser.find("finished").await?;
    browser.picture("browser-run").await?;

    browser.click("Review predictions").await?;
    browser.find("Confusion matrix").await?;
    browser.picture("browser-review").await?;

    browser.click("Label").await?;
    browser.find("Label as 9").await?;
    browser.press("5").await?;
    browser.picture("browser-label").await?;
    let client = workspace.open().await;
    crate::harness::until("the label", async || {
        let detail: assay_protocol::SampleDetail = client.get("/api/v1/samples/1").await.ok()?;
        (detail.sample.label?.only()?.0 == 5).then_some(())
    })
    .await?;
    browser.click("Models").await?;
    browser.find("Use best of run").await?;
    browser.picture("browser-models").await?;
    browser.page.clone().close().await?;
    Ok(())
}
