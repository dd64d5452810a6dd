//! Where one is; every place has an address, so that it can be linked to.

use assay_domain::{DatasetId, EvaluationId, ExperimentId, RunId};

/// A place with what is open in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Route {
    /// The runs table with its charts.
    #[default]
    Runs,
    /// One run.
    Run(RunId),
    /// The run of this uid; MLflow's clients print such addresses.
    Uid(String),
    /// The runs of an experiment; MLflow's clients print such addresses.
    Experiment(ExperimentId),
    /// Runs side by side.
    Compare(Vec<RunId>),
    /// The datasets, or one of them.
    Data(Option<DatasetId>),
    /// Labeling a dataset.
    Label(Option<DatasetId>),
    /// The evaluations, or one of them.
    Review(Option<EvaluationId>),
    /// The models.
    Models,
    /// The alerts and their rules.
    Alerts,
}

impl Route {
    /// The place's name.
    pub(crate) fn place(&self) -> &'static str {
        match self {
            Route::Runs | Route::Run(_) | Route::Uid(_) | Route::Experiment(_) | Route::Compare(_) => "Runs",
            Route::Data(_) => "Data",
            Route::Label(_) => "Label",
            Route::Review(_) => "Review",
            Route::Models => "Models",
            Route::Alerts => "Alerts",
        }
    }

    /// The address, as it stands behind `#` in a browser.
    pub fn address(&self) -> String {
        let with = |place: &str, id: Option<String>| id.map_or(format!("/{place}"), |id| format!("/{place}/{id}"));
        match self {
            Route::Runs => "/runs".into(),
            Route::Run(run) => format!("/runs/{run}"),
            Route::Uid(uid) => format!("/runs/uid/{uid}"),
            Route::Experiment(experiment) => format!("/experiments/{experiment}"),
            Route::Compare(runs) => {
                let runs: Vec<String> = runs.iter().map(RunId::to_string).collect();
                format!("/compare/{}", runs.join(","))
            }
            Route::Data(dataset) => with("data", dataset.map(|id| id.to_string())),
            Route::Label(dataset) => with("label", dataset.map(|id| id.to_string())),
            Route::Review(evaluation) => with("review", evaluation.map(|id| id.to_string())),
            Route::Models => "/models".into(),
            Route::Alerts => "/alerts".into(),
        }
    }

    /// The place of an address; the runs for one that is none.
    pub fn parse(address: &str) -> Route {
        let address = address.trim_start_matches(['#', '/']);
        let mut parts = address.split('?').next().unwrap_or_default().split('/');
        let (place, id) = (parts.next().unwrap_or_default(), parts.next());
        match place {
            "runs" => match (id, parts.next()) {
                (Some("uid"), Some(uid)) => Route::Uid(uid.to_owned()),
                _ => id.and_then(|id| id.parse().ok()).map_or(Route::Runs, Route::Run),
            },
            "experiments" => match (parts.next(), parts.next()) {
                (Some("runs"), Some(uid)) => Route::Uid(uid.to_owned()),
                _ => id.and_then(|id| id.parse().ok()).map_or(Route::Runs, Route::Experiment),
            },
            "compare" => Route::Compare(id.unwrap_or_default().split(',').filter_map(|id| id.parse().ok()).collect()),
            "data" => Route::Data(id.and_then(|id| id.parse().ok())),
            "label" => Route::Label(id.and_then(|id| id.parse().ok())),
            "review" => Route::Review(id.and_then(|id| id.parse().ok())),
            "models" => Route::Models,
            "alerts" => Route::Alerts,
            _ => Route::Runs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_leads_back() {
        for route in [
            Route::Runs,
            Route::Run(RunId(3)),
            Route::Uid("0f".into()),
            Route::Experiment(ExperimentId(0)),
            Route::Compare(vec![RunId(1), RunId(2)]),
            Route::Data(None),
            Route::Data(Some(DatasetId(4))),
            Route::Label(Some(DatasetId(4))),
            Route::Review(Some(EvaluationId(5))),
            Route::Models,
            Route::Alerts,
        ] {
            assert_eq!(Route::parse(&format!("#{}", route.address())), route);
        }
        assert_eq!(Route::parse("#/nonsense/x"), Route::Runs);
        // As MLflow's clients print and open them.
        assert_eq!(Route::parse("#/experiments/7/runs/0f/artifacts"), Route::Uid("0f".into()));
        assert_eq!(Route::parse("#/experiments/7?searchFilter="), Route::Experiment(ExperimentId(7)));
        assert_eq!(Route::parse("#/models/detector/versions/2"), Route::Models);
    }
}
