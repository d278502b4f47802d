//! A pool for each file system: one that does not answer takes the threads of its own only.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::mounts::{Device, Mounts};
use super::pool::{Bounds, Pool};

/// Pools by the file system that a path is on, as far as that can be known without asking it.
///
/// A path is looked up as it is written. Where it leads through a symbolic link to another file
/// system, its work is done in the pool of the one that it begins on.
#[derive(Debug)]
pub struct ByFileSystem {
    name: &'static str,
    bounds: Bounds,
    pools: Mutex<BTreeMap<Device, Arc<Pool>>>,
}

impl ByFileSystem {
    /// No pool yet; each of them will have these bounds.
    pub const fn new(name: &'static str, bounds: Bounds) -> Self {
        Self { name, bounds, pools: Mutex::new(BTreeMap::new()) }
    }

    /// The pool for work at `path`. Asks no file system.
    pub fn of(&self, path: &Path) -> Arc<Pool> {
        let (device, at) = Mounts::current().of(path);
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&device) {
            return Arc::clone(pool);
        }
        // File systems may come and go, say one for each home: drop the pools that are not in use.
        pools.retain(|_, pool| pool.is_in_use());
        let what = format!("{} on {}", self.name, at.display()).into();
        let pool = Arc::new(Pool::new(self.name, what, self.bounds));
        pools.insert(device, Arc::clone(&pool));
        pool
    }

    /// What the pools are for in which work has been waiting for a thread for some seconds.
    pub fn stuck(&self) -> Vec<Arc<str>> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.values().filter_map(|pool| pool.is_stuck()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_system_has_one_pool_and_another_has_another() {
        let bounds = Bounds { most: 1, queued: 1, wait: Duration::from_secs(1) };
        let pools = ByFileSystem::new("test", bounds);
        let proc = pools.of(Path::new("/proc/self"));
        assert!(Arc::ptr_eq(&proc, &pools.of(Path::new("/proc/1/no/such/thing"))));
        assert!(!Arc::ptr_eq(&proc, &pools.of(Path::new("/no/such/thing"))));
        assert!(pools.stuck().is_empty());
    }

    #[test]
    fn a_pool_that_nobody_uses_is_forgotten() {
        let bounds = Bounds { most: 1, queued: 1, wait: Duration::from_secs(1) };
        let pools = ByFileSystem::new("test", bounds);
        drop(pools.of(Path::new("/proc/self")));
        drop(pools.of(Path::new("/")));
        assert_eq!(pools.pools.lock().unwrap().len(), 1);
    }
}
