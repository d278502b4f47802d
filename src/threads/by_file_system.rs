//! A pool for each file system: one that does not answer occupies only the threads of its pool.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::mounts::{Device, Mounts};
use super::pool::{Bounds, Pool};

/// Pools by the file system that a path is on, as far as that is known without asking the file
/// system.
///
/// A path is looked up as it is written. If it leads through a symbolic link to another file
/// system, its work is done in the pool of the first one.
#[derive(Debug)]
pub struct ByFileSystem {
    name: &'static str,
    bounds: Bounds,
    pools: Mutex<BTreeMap<Device, Arc<Pool>>>,
}

impl ByFileSystem {
    /// No pool yet. Each will have these bounds.
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
        // File systems may come and go, for example one for each home: drop the unused pools.
        pools.retain(|_, pool| pool.is_in_use());
        let what = format!("{} on {}", self.name, at.display()).into();
        let pool = Arc::new(Pool::new(self.name, what, self.bounds));
        pools.insert(device, Arc::clone(&pool));
        pool
    }

    /// The purpose of each pool in which work has waited for a thread for some seconds.
    pub fn stuck(&self) -> Vec<Arc<str>> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.values().filter_map(|pool| pool.stuck()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_file_system_has_one_pool() {
        let bounds = Bounds { most: 1, queued: 1, wait: Duration::from_secs(1) };
        let pools = ByFileSystem::new("test", bounds);
        let proc = pools.of(Path::new("/proc/self"));
        assert!(Arc::ptr_eq(&proc, &pools.of(Path::new("/proc/1/no/such/thing"))));
        assert!(!Arc::ptr_eq(&proc, &pools.of(Path::new("/no/such/thing"))));
        assert!(pools.stuck().is_empty());
    }

    #[test]
    fn an_unused_pool_is_dropped() {
        let bounds = Bounds { most: 1, queued: 1, wait: Duration::from_secs(1) };
        let pools = ByFileSystem::new("test", bounds);
        drop(pools.of(Path::new("/proc/self")));
        drop(pools.of(Path::new("/")));
        assert_eq!(pools.pools.lock().unwrap().len(), 1);
    }
}
