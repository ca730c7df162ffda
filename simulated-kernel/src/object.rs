//! What handles stand for.

use std::collections::VecDeque;

use crate::directory::Directory;
use crate::file::File;
use crate::kernel::{Id, Kernel};
use crate::operation::{Direction, Kind, Operation, Outcome};
use crate::pipe::PipeEnd;
use crate::port::Port;
use crate::socket::{Role, Socket};
use crate::thread::Thread;
use crate::wait::Waitable;

/// A file object, in the system's words: what duplicates share.
pub struct Object {
    pub body: Body,
    /// The port and the completion key, once and for all.
    pub association: Option<(Id, usize)>,
    pub skips: bool,
    pub is_overlapped: bool,
    /// In flight, by their directions, oldest first: those in one direction wait
    /// for each other, and those in neither for nobody.
    pub pending: [VecDeque<Operation>; 3],
    /// How many handles are open.
    pub handles: usize,
}

pub enum Body {
    Port(Port),
    File(File),
    Directory(Directory),
    Pipe(PipeEnd),
    PipeFileSystem,
    Socket(Socket),
    Waitable(Waitable),
    Thread(Thread),
}

impl Object {
    pub fn new(body: Body) -> Self {
        Self {
            body,
            association: None,
            skips: false,
            is_overlapped: true,
            pending: Default::default(),
            handles: 0,
        }
    }

    pub fn waits_for(&self, direction: Direction) -> bool {
        !self.pending[direction as usize].is_empty()
    }
}

/// All objects by their numbers, which are never used twice. (Miri takes long
/// to find something in a map.)
pub struct Objects(Vec<Option<Object>>);

impl Objects {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn add(&mut self, object: Object) -> Id {
        self.0.push(Some(object));
        self.0.len() as Id - 1
    }

    pub fn get(&self, id: Id) -> Option<&Object> {
        self.0.get(id as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, id: Id) -> Option<&mut Object> {
        self.0.get_mut(id as usize)?.as_mut()
    }

    pub fn remove(&mut self, id: Id) -> Option<Object> {
        self.0.get_mut(id as usize)?.take()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Id, &Object)> {
        let numbered = (0..).zip(&self.0);
        numbered.filter_map(|(id, object)| Some((id, object.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut Object)> {
        let numbered = (0..).zip(&mut self.0);
        numbered.filter_map(|(id, object)| Some((id, object.as_mut()?)))
    }
}

impl std::ops::Index<Id> for Objects {
    type Output = Object;

    fn index(&self, id: Id) -> &Object {
        self.get(id).expect("an object")
    }
}

impl std::ops::IndexMut<Id> for Objects {
    fn index_mut(&mut self, id: Id) -> &mut Object {
        self.get_mut(id).expect("an object")
    }
}

impl Kernel {
    /// What comes of an operation that nobody disturbs.
    pub fn attempt_soundly(&mut self, id: Id, operation: &mut Operation) -> Option<Outcome> {
        match &mut self.objects.get_mut(id)?.body {
            Body::Port(_) | Body::Waitable(_) | Body::Thread(_) => {
                unreachable!("these have no operations")
            }
            Body::File(_) if matches!(operation.kind, Kind::Lock { .. }) => {
                self.try_lock(id, operation)
            }
            Body::File(file) => Some(file.transfer(operation)),
            Body::Directory(_) => self.watch(id, operation),
            Body::Pipe(_) => self.transfer_pipe(id, operation),
            Body::PipeFileSystem => {
                let Kind::AwaitInstance(name) = &operation.kind else { unreachable!("a wait") };
                self.find_instance(name)
            }
            Body::Socket(_) => self.transfer_socket(id, operation),
        }
    }

    /// The last handle is closed.
    pub fn destroy(&mut self, id: Id) {
        let Some(mut object) = self.objects.remove(id) else { return };
        match std::mem::replace(&mut object.body, Body::Port(Port::default())) {
            Body::Port(port) => {
                for packet in port.abandon() {
                    self.lent.remove(&packet.overlapped);
                }
            }
            Body::File(_) => self.release_locks(id),
            Body::Directory(_) | Body::PipeFileSystem | Body::Thread(_) => {}
            Body::Pipe(end) => {
                self.close_pipe(&end);
                self.look_for_instances();
            }
            Body::Waitable(_) => self.check_unwaited(id),
            Body::Socket(socket) => {
                if matches!(socket.role, Role::Fresh) || socket.accepted_at.is_some() {
                    self.end_accept(id);
                }
                let resets = self.behaviour.close_resets && object.waits_for(Direction::In);
                self.close_socket(socket, resets);
            }
        }
        self.abandon(object);
    }
}
