//! Registered models and their versions.

use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::Timestamp;
use assay_domain::entity::Event;
use assay_domain::registry::{ModelVersion, RegisteredModel};
use rusqlite::{Row, params};
use std::collections::BTreeMap;

pub(crate) const TABLES: &str = "
CREATE TABLE registered_models (name TEXT PRIMARY KEY, description TEXT NOT NULL, created INTEGER NOT NULL,
    updated INTEGER NOT NULL, versions INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
CREATE TABLE model_versions (
    model TEXT NOT NULL REFERENCES registered_models (name) ON UPDATE CASCADE ON DELETE CASCADE,
    version INTEGER NOT NULL, description TEXT NOT NULL, user TEXT, source TEXT NOT NULL, location TEXT NOT NULL, run TEXT, run_link TEXT,
    logged_model TEXT, stage TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
    PRIMARY KEY (model, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE registry_tags (
    model TEXT NOT NULL REFERENCES registered_models (name) ON UPDATE CASCADE ON DELETE CASCADE,
    version INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, version, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE registry_aliases (
    model TEXT NOT NULL REFERENCES registered_models (name) ON UPDATE CASCADE ON DELETE CASCADE,
    alias TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (model, alias)
) STRICT, WITHOUT ROWID;
";

/// The version under which the tags of a model itself are kept.
const ITSELF: u32 = 0;

/// What a version begins with.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The model.
    pub model: String,
    /// What people wrote about it.
    pub description: String,
    /// Who registers it.
    pub user: Option<String>,
    /// What it was made of, as the client says.
    pub source: String,
    /// Where its files are.
    pub location: String,
    /// The uid of the run that made it.
    pub run: Option<String>,
    /// Where that run can be seen, if not here.
    pub run_link: Option<String>,
    /// The logged model that it is.
    pub logged_model: Option<String>,
    /// Free key-value notes.
    pub tags: BTreeMap<String, String>,
}

fn no_model(name: &str) -> StoreError {
    StoreError::missing("registered model", name)
}

fn no_version(model: &str, version: u32) -> StoreError {
    StoreError::missing("model version", format_args!("{version} of {model}"))
}

impl WriteTx<'_> {
    /// Registers a model.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of this name.
    pub fn create_model(&mut self, name: &str, description: &str, tags: &BTreeMap<String, String>) -> Result<()> {
        let made = self.db.execute(
            "INSERT INTO registered_models (name, description, created, updated) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT DO NOTHING",
            params![name, description, self.now.0],
        )?;
        if made == 0 {
            return Err(StoreError::Conflict(format!("Registered Model (name={name}) already exists.")));
        }
        tags.iter().try_for_each(|(key, value)| self.set_registry_tag(name, None, key, Some(value)))?;
        self.emit(&Event::RegistryChanged { model: name.to_owned() })
    }

    /// Renames a registered model with all that is its.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is another of this name.
    pub fn rename_model(&mut self, name: &str, to: &str) -> Result<()> {
        let taken = self.db.prepare_cached("SELECT 1 FROM registered_models WHERE name = ?1")?.exists([to])?;
        if taken && name != to {
            return Err(StoreError::Conflict(format!("Registered Model (name={to}) already exists.")));
        }
        self.touch_model(name)?;
        self.db.execute("UPDATE registered_models SET name = ?2 WHERE name = ?1", [name, to])?;
        self.emit(&Event::RegistryChanged { model: to.to_owned() })
    }

    /// Describes a registered model.
    pub fn describe_model(&mut self, name: &str, description: &str) -> Result<()> {
        self.touch_model(name)?;
        self.db.execute("UPDATE registered_models SET description = ?2 WHERE name = ?1", [name, description])?;
        Ok(())
    }

    /// Forgets a registered model with its versions.
    pub fn delete_model(&mut self, name: &str) -> Result<()> {
        match self.db.execute("DELETE FROM registered_models WHERE name = ?1", [name])? {
            0 => Err(no_model(name)),
            _ => self.emit(&Event::RegistryChanged { model: name.to_owned() }),
        }
    }

    /// Registers the next version of a model; returns its number.
    pub fn create_version(&mut self, new: &NewVersion) -> Result<u32> {
        self.touch_model(&new.model)?;
        let version: u32 = self.db.query_row(
            "UPDATE registered_models SET versions = versions + 1 WHERE name = ?1 RETURNING versions",
            [&new.model],
            |row| row.get(0),
        )?;
        self.db.execute(
            "INSERT INTO model_versions (model, version, description, user, source, location, run, run_link, logged_model,
             stage, created, updated) VALUES (?1, ?2, ?3, ?4, ?5, ?10, ?6, ?7, ?8, 'None', ?9, ?9)",
            params![
                new.model,
                version,
                new.description,
                new.user,
                new.source,
                new.run,
                new.run_link,
                new.logged_model,
                self.now.0,
                new.location
            ],
        )?;
        new.tags
            .iter()
            .try_for_each(|(key, value)| self.set_registry_tag(&new.model, Some(version), key, Some(value)))?;
        Ok(version)
    }

    /// Describes a version.
    pub fn describe_version(&mut self, model: &str, version: u32, description: &str) -> Result<()> {
        let changed = self.db.execute(
            "UPDATE model_versions SET description = ?3, updated = ?4 WHERE model = ?1 AND version = ?2",
            params![model, version, description, self.now.0],
        )?;
        if changed == 0 {
            Err(no_version(model, version))
        } else {
            self.emit(&Event::RegistryChanged { model: model.to_owned() })
        }
    }

    /// Moves a version to a stage, and where wanted all others of that stage to the archive.
    pub fn move_version(&mut self, model: &str, version: u32, stage: &str, archive: Archive) -> Result<()> {
        if archive == Archive::Others {
            self.db.execute(
                "UPDATE model_versions SET stage = 'Archived', updated = ?4
                 WHERE model = ?1 AND version <> ?2 AND stage = ?3",
                params![model, version, stage, self.now.0],
            )?;
        }
        let changed = self.db.execute(
            "UPDATE model_versions SET stage = ?3, updated = ?4 WHERE model = ?1 AND version = ?2",
            params![model, version, stage, self.now.0],
        )?;
        if changed == 0 { Err(no_version(model, version)) } else { self.touch_model(model) }
    }

    /// Forgets a version with its aliases.
    pub fn delete_version(&mut self, model: &str, version: u32) -> Result<()> {
        let of = params![model, version];
        if self.db.execute("DELETE FROM model_versions WHERE model = ?1 AND version = ?2", of)? == 0 {
            return Err(no_version(model, version));
        }
        self.db.execute("DELETE FROM registry_tags WHERE model = ?1 AND version = ?2", of)?;
        self.db.execute("DELETE FROM registry_aliases WHERE model = ?1 AND version = ?2", of)?;
        self.touch_model(model)
    }

    /// Sets a tag of a version (of the model itself without one), or removes it.
    pub fn set_registry_tag(
        &mut self,
        model: &str,
        version: Option<u32>,
        key: &str,
        value: Option<&str>,
    ) -> Result<()> {
        match version {
            Some(version) => self.check_version(model, version)?,
            None => self.check_model(model)?,
        }
        let of = version.unwrap_or(ITSELF);
        self.db.execute(
            "DELETE FROM registry_tags WHERE model = ?1 AND version = ?2 AND key = ?3",
            params![model, of, key],
        )?;
        if let Some(value) = value {
            self.db.execute(
                "INSERT INTO registry_tags (model, version, key, value) VALUES (?1, ?2, ?3, ?4)",
                params![model, of, key, value],
            )?;
        }
        self.emit(&Event::RegistryChanged { model: model.to_owned() })
    }

    /// Gives a version another name, or takes it away.
    pub fn set_alias(&mut self, model: &str, alias: &str, version: Option<u32>) -> Result<()> {
        self.touch_model(model)?;
        version.map_or(Ok(()), |version| self.check_version(model, version))?;
        match version {
            Some(version) => self.db.execute(
                "INSERT OR REPLACE INTO registry_aliases (model, alias, version) VALUES (?1, ?2, ?3)",
                params![model, alias, version],
            )?,
            None => self.db.execute("DELETE FROM registry_aliases WHERE model = ?1 AND alias = ?2", [model, alias])?,
        };
        Ok(())
    }

    fn check_model(&self, name: &str) -> Result<()> {
        let mut found = self.db.prepare_cached("SELECT 1 FROM registered_models WHERE name = ?1")?;
        if found.exists([name])? { Ok(()) } else { Err(no_model(name)) }
    }

    fn check_version(&self, model: &str, version: u32) -> Result<()> {
        let mut found = self.db.prepare_cached("SELECT 1 FROM model_versions WHERE model = ?1 AND version = ?2")?;
        if found.exists(params![model, version])? { Ok(()) } else { Err(no_version(model, version)) }
    }

    fn touch_model(&mut self, name: &str) -> Result<()> {
        let sql = "UPDATE registered_models SET updated = ?2 WHERE name = ?1";
        match self.db.prepare_cached(sql)?.execute(params![name, self.now.0])? {
            0 => Err(no_model(name)),
            _ => self.emit(&Event::RegistryChanged { model: name.to_owned() }),
        }
    }
}

/// What becomes of the other versions of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archive {
    /// They stay.
    None,
    /// They are archived.
    Others,
}

fn version_of(row: &Row<'_>) -> rusqlite::Result<ModelVersion> {
    Ok(ModelVersion {
        model: row.get(0)?,
        version: row.get(1)?,
        description: row.get(2)?,
        user: row.get(3)?,
        source: row.get(4)?,
        run: row.get(5)?,
        run_link: row.get(6)?,
        logged_model: row.get(7)?,
        stage: row.get(8)?,
        created: Timestamp(row.get(9)?),
        updated: Timestamp(row.get(10)?),
        location: row.get(11)?,
        tags: BTreeMap::new(),
    })
}

/// A condition on the parameter ?1 that an index serves, or none.
fn only_where(column: &str, only: Option<&str>) -> String {
    if only.is_some() { format!("{column} = ?1") } else { "?1 IS NULL".to_owned() }
}

impl Reader<'_> {
    /// All registered models by name.
    pub fn registered_models(&self) -> Result<Vec<RegisteredModel>> {
        self.found_models(None)
    }

    /// One registered model.
    pub fn registered_model(&self, name: &str) -> Result<RegisteredModel> {
        self.found_models(Some(name))?.pop().ok_or_else(|| no_model(name))
    }

    fn found_models(&self, only: Option<&str>) -> Result<Vec<RegisteredModel>> {
        let mut statement = self.db.prepare_cached(&format!(
            "SELECT name, description, created, updated FROM registered_models WHERE {} ORDER BY name",
            only_where("name", only)
        ))?;
        let rows = statement.query_map([only], |row| {
            Ok(RegisteredModel {
                name: row.get(0)?,
                description: row.get(1)?,
                created: Timestamp(row.get(2)?),
                updated: Timestamp(row.get(3)?),
                tags: BTreeMap::new(),
                aliases: BTreeMap::new(),
            })
        })?;
        let mut models = rows.collect::<rusqlite::Result<Vec<RegisteredModel>>>()?;
        let mut tags = self.registry_tags(only)?;
        let condition = only_where("model", only);
        let sql = format!("SELECT model, alias, version FROM registry_aliases WHERE {condition}");
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut aliases: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
        let mut rows = statement.query([only])?;
        while let Some(row) = rows.next()? {
            aliases.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
        }
        for model in &mut models {
            model.tags = tags.remove(&(model.name.clone(), ITSELF)).unwrap_or_default();
            model.aliases = aliases.remove(&model.name).unwrap_or_default();
        }
        Ok(models)
    }

    /// The versions of a registered model (of all without one), by model and number.
    pub fn model_versions(&self, model: Option<&str>) -> Result<Vec<ModelVersion>> {
        let mut statement = self.db.prepare_cached(&format!(
            "SELECT model, version, description, user, source, run, run_link, logged_model, stage, created, updated,
             location FROM model_versions WHERE {} ORDER BY model, version",
            only_where("model", model)
        ))?;
        let rows = statement.query_map([model], version_of)?;
        let mut versions = rows.collect::<rusqlite::Result<Vec<ModelVersion>>>()?;
        let mut tags = self.registry_tags(model)?;
        for version in &mut versions {
            version.tags = tags.remove(&(version.model.clone(), version.version)).unwrap_or_default();
        }
        Ok(versions)
    }

    fn registry_tags(&self, model: Option<&str>) -> Result<BTreeMap<(String, u32), BTreeMap<String, String>>> {
        let mut tags: BTreeMap<(String, u32), BTreeMap<String, String>> = BTreeMap::new();
        let mut statement = self.db.prepare_cached(&format!(
            "SELECT model, version, key, value FROM registry_tags WHERE {}",
            only_where("model", model)
        ))?;
        let mut rows = statement.query([model])?;
        while let Some(row) = rows.next()? {
            tags.entry((row.get(0)?, row.get(1)?)).or_default().insert(row.get(2)?, row.get(3)?);
        }
        Ok(tags)
    }
}
