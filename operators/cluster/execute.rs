use std::net::TcpStream;

use timely::WorkerConfig;
use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::{CommsGuard, initialize_networking_from_sockets};
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::execute::execute_from;
use timely::worker::Worker;

use super::connect::connect;
use super::peers::Cause;
use super::watched::Watched;
use super::{Cluster, Peers};
use crate::error::Error;
use crate::fault::{RUN, point};

/// Runs `body` on each worker of this process, together with the other processes of the cluster, and gives what they
/// return once all their dataflows are complete.
///
/// `body` is to ask its [`Peers`] between steps, as in [the module's example](super). If it returns an error, the
/// worker's dataflows are dropped, and the run ends on all workers of all processes. Gives the first error of this
/// process: a lost peer, or what a worker of this process has returned; a worker's panic as an [`Error::Usage`].
pub fn execute<R, E, F>(cluster: &Cluster, body: F) -> Result<Vec<R>, E>
where
    R: Send + 'static,
    E: From<Error> + Send + 'static,
    F: Fn(&mut Worker, &Peers) -> Result<R, E> + Send + Sync + 'static,
{
    cluster.validate()?;
    point(RUN);
    let peers = Peers::default();
    let (builders, connections) = build(cluster, &peers)?;
    let watching = peers.clone();
    let work = move |worker: &mut Worker| work(worker, &watching, &body);
    let guards = execute_from(builders, Box::new(()), WorkerConfig::default(), work)
        .map_err(|what| Error::usage(format!("can't start the workers: {what}")))?;
    let results = guards.join();
    let cause = peers.finish();
    match connections {
        // Timely's threads follow a worker's panic.
        Some(connections) if results.iter().any(Result::is_err) => std::mem::forget(connections),
        connections => drop(connections),
    }
    let first = cluster.process * cluster.workers;
    match cause {
        None => outcomes(results).collect(),
        Some(Cause::Lost) => Err(peers.lost().into()),
        Some(Cause::Failed(worker)) => {
            // The error that the others follow from.
            let failed = outcomes(results).nth(worker - first);
            failed
                .unwrap_or_else(|| Err(Error::usage(format!("worker {worker} has failed")).into()))
                .map(|_| Vec::new())
        }
    }
}

fn outcomes<R, E: From<Error>>(results: Vec<Result<Result<R, E>, String>>) -> impl Iterator<Item = Result<R, E>> {
    let told = |panic| Err(Error::usage(format!("a worker has panicked: {panic}")).into());
    results.into_iter().map(move |result| result.unwrap_or_else(told))
}

/// Allocators for the workers, and the threads that serve the connections, if there are any.
fn build(cluster: &Cluster, peers: &Peers) -> Result<(Vec<AllocatorBuilder>, Option<CommsGuard>), Error> {
    let hooks = Hooks::default();
    let workers = ProcessBuilder::new_typed_vector(cluster.workers, hooks.refill.clone(), hooks.spill.clone());
    if cluster.processes() == 1 {
        return Ok((workers.into_iter().map(AllocatorBuilder::Process).collect(), None));
    }
    let failed = |error| Error::store("use", "the connections to the other processes", error);
    let streams = connect(cluster)?;
    for stream in streams.iter().flatten() {
        peers.watch_connection(stream.try_clone().map_err(failed)?);
    }
    let watch = |(process, stream): (usize, Option<TcpStream>)| {
        stream.map(|stream| Watched::new(stream, process, cluster.grace, peers.clone()))
    };
    let watched = streams.into_iter().enumerate().map(watch).collect();
    let (builders, connections) =
        initialize_networking_from_sockets(workers, watched, cluster.process, cluster.workers, hooks)
            .map_err(failed)?;
    Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Some(connections)))
}

fn work<R, E: From<Error>>(
    worker: &mut Worker,
    peers: &Peers,
    body: impl Fn(&mut Worker, &Peers) -> Result<R, E>,
) -> Result<R, E> {
    peers.watch_worker();
    let _failing = Failing { peers, worker: worker.index() };
    let result = body(worker, peers).and_then(|result| finish(worker, peers).map(|()| result).map_err(E::from));
    if result.is_err() {
        peers.fail(worker.index());
        // What is still installed would be waited for.
        worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
    }
    result
}

/// Steps until the worker's dataflows are complete.
fn finish(worker: &mut Worker, peers: &Peers) -> Result<(), Error> {
    while worker.has_dataflows() {
        worker.step_or_park(None);
        peers.check()?;
    }
    Ok(())
}

/// Tells the other workers when this one panics.
struct Failing<'a> {
    peers: &'a Peers,
    worker: usize,
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.peers.fail(self.worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use timely::dataflow::operators::Input;

    use super::*;

    /// Builds a dataflow that never ends by itself, and steps it until told otherwise.
    fn wait(worker: &mut Worker, peers: &Peers) -> Result<(), Error> {
        let _input = worker.dataflow::<u64, _, _>(|scope| scope.new_input::<Vec<()>>().0);
        loop {
            worker.step_or_park(None);
            peers.check()?;
        }
    }

    #[test]
    fn the_error_of_a_worker_ends_all_and_is_the_one_that_is_told() {
        let ended = execute(&Cluster::of_threads(3), |worker, peers| match worker.index() {
            1 => Err(Error::usage("no more disks")),
            _ => wait(worker, peers),
        });
        assert_eq!(ended.unwrap_err().to_string(), "no more disks");
    }

    #[test]
    fn a_panic_of_a_worker_ends_all_and_is_an_error() {
        let ended: Result<Vec<()>, Error> = execute(&Cluster::of_threads(3), |worker, peers| match worker.index() {
            2 => panic!("out of ideas"),
            _ => wait(worker, peers),
        });
        assert!(ended.unwrap_err().to_string().contains("a worker has panicked"));
    }

    /// Two processes, here as threads; worker 1 of the second fails.
    #[test]
    fn what_fails_in_one_process_is_a_loss_to_the_others() {
        for panics in [false, true] {
            let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let addresses = vec![free(), free()];
            let [first, second] = [0, 1].map(|process| {
                let cluster = Cluster::new(2, process, addresses.clone());
                std::thread::spawn(move || -> Result<Vec<()>, Error> {
                    execute(&cluster, move |worker, peers| match worker.index() {
                        3 if panics => panic!("out of ideas"),
                        3 => Err(Error::usage("no more disks")),
                        _ => wait(worker, peers),
                    })
                })
            });
            let lost = first.join().unwrap().unwrap_err();
            assert!(matches!(&lost, Error::Lost { processes, .. } if processes == &[1]), "{lost}");
            let told = second.join().unwrap().unwrap_err().to_string();
            assert!(told.contains(if panics { "a worker has panicked" } else { "no more disks" }), "{told}");
        }
    }

    /// What is left to do when the program has nothing more to say is done.
    #[test]
    fn dataflows_are_completed() {
        let ended = execute(&Cluster::of_threads(2), |worker, _| {
            let mut input = worker.dataflow::<u64, _, _>(|scope| scope.new_input::<Vec<u64>>().0);
            input.send(7);
            Ok::<_, Error>(worker.index())
        });
        assert_eq!(ended.unwrap(), [0, 1]);
    }

    #[test]
    fn what_is_no_cluster_is_refused() {
        for cluster in [Cluster::of_threads(0), Cluster::new(1, 1, vec!["localhost:1".into()])] {
            let ended: Result<Vec<()>, Error> = execute(&cluster, |_, _| Ok(()));
            assert!(matches!(ended, Err(Error::Usage { .. })));
        }
    }
}
