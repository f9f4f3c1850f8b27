//! The folder of all contexts, and which of them is meant.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::context::{Context, ContextError};
use crate::files;

/// Longest name of a context, in bytes.
const NAME_SIZE_BYTES_MAX: usize = 64;

/// The folder `~/.config/chancery` (or `$XDG_CONFIG_HOME/chancery`): contexts, and which one is current.
#[derive(Clone, Debug)]
pub struct Contexts {
    root: PathBuf,
    from_environment: Option<String>,
}

impl Contexts {
    /// Those of the user, with the choice of `CHANCERY_CONTEXT`.
    ///
    /// # Errors
    /// There is no home to look in, or the choice is no name.
    pub fn from_env() -> Result<Self, ContextError> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = root(variable("XDG_CONFIG_HOME"), variable("HOME"))?;
        let from_environment = variable("CHANCERY_CONTEXT")
            .map(|name| name.into_string().map_err(|name| ContextError::Name(name.display().to_string())))
            .transpose()?;
        Ok(Self { root, from_environment })
    }

    /// Those in `root`, whatever the environment says.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), from_environment: None }
    }

    /// Loads the context `name`, or else the one that `CHANCERY_CONTEXT` names, or else the current one.
    ///
    /// # Errors
    /// None of these names one, or it cannot be loaded.
    pub fn load(&self, name: Option<&str>) -> Result<Context, ContextError> {
        let name = match name.or(self.from_environment.as_deref()) {
            Some(name) => name.to_owned(),
            None => self.current()?.ok_or(ContextError::NoneSelected)?,
        };
        Context::open(self.folder(&name)?)
    }

    /// Where the context `name` is, or would be.
    ///
    /// # Errors
    /// It is no name.
    pub fn folder(&self, name: &str) -> Result<PathBuf, ContextError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let bad = name.is_empty()
            || name.len() > NAME_SIZE_BYTES_MAX
            || name.starts_with('.')
            || !name.chars().all(plain);
        if bad { Err(ContextError::Name(name.into())) } else { Ok(self.root.join("contexts").join(name)) }
    }

    /// The selected context's name, if one is.
    ///
    /// # Errors
    /// The file that says so cannot be read.
    pub fn current(&self) -> Result<Option<String>, ContextError> {
        match files::read_trusted(&self.current_path()) {
            Ok(name) => Ok(Some(name.trim_end().to_owned())),
            Err(ContextError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Selects `name` as the current context.
    ///
    /// # Errors
    /// It is no name, or the file cannot be written.
    pub fn select(&self, name: &str) -> Result<(), ContextError> {
        self.folder(name)?;
        let path = self.current_path();
        files::make_folder(&self.root)
            .and_then(|()| files::replace(&path, format!("{name}\n").as_bytes()))
            .map_err(|source| ContextError::Write { path, source })
    }

    fn current_path(&self) -> PathBuf {
        self.root.join("current")
    }
}

/// Relative paths do not count, as the XDG specification demands: they would depend on the working directory.
fn root(config_home: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, ContextError> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let config = config_home.and_then(absolute);
    let config = config.or_else(|| Some(home.and_then(absolute)?.join(".config")));
    Ok(config.ok_or(ContextError::NoHome)?.join("chancery"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_never_relative() {
        let root = |config: &str, home: &str| root(Some(config.into()), Some(home.into())).ok();
        assert_eq!(root("/c", "/h"), Some("/c/chancery".into()));
        assert_eq!(root("c", "/h"), Some("/h/.config/chancery".into()));
        assert_eq!(root("c", "h"), None);
    }

    #[test]
    fn names_stay_in_the_folder() {
        let contexts = Contexts::new("/r");
        assert_eq!(contexts.folder("dev").unwrap(), PathBuf::from("/r/contexts/dev"));
        for name in ["", ".", "..", "a/b", "../a", ".hidden", "a b", "a\0"] {
            assert!(matches!(contexts.folder(name), Err(ContextError::Name(_))), "{name:?}");
        }
    }
}
