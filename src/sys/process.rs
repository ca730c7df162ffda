//! Processes and jobs.

use std::mem;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{HANDLE, RtlNtStatusToDosError};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_ASSOCIATE_COMPLETION_PORT, JOBOBJECT_BASIC_ACCOUNTING_INFORMATION,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JOBOBJECTINFOCLASS,
    JobObjectAssociateCompletionPortInformation, JobObjectBasicAccountingInformation,
    JobObjectExtendedLimitInformation, QueryInformationJobObject, SetInformationJobObject,
    TerminateJobObject,
};
use windows_sys::Win32::System::Threading::GetExitCodeProcess;

use super::{Handle, Port, last_error};
use crate::error::{Error, Facts, Result};

/// The exit code of a process that has ended; `None` if the system does not tell.
pub(crate) fn exit_code(process: Handle) -> Option<u32> {
    let mut code = 0;
    // SAFETY: The out-parameter is a local; the handle is checked.
    let known = unsafe { GetExitCodeProcess(process.raw(), &raw mut code) };
    (known != 0).then_some(code)
}

/// Lets a process run that was created suspended.
pub(crate) fn resume(process: Handle) -> Result<()> {
    // Not in windows-sys. Its threads could be found otherwise only among those of all
    // processes.
    #[link(name = "ntdll")]
    // SAFETY: As in the Windows Driver Kit's import library: the handle is checked.
    unsafe extern "system" {
        safe fn NtResumeProcess(process: HANDLE) -> i32;
    }
    match NtResumeProcess(process.raw()) {
        status if status < 0 => {
            // SAFETY: It looks the status up in a table.
            let code = unsafe { RtlNtStatusToDosError(status) };
            Err(Error::os(Facts::NtResumeProcess, code))
        }
        _ => Ok(()),
    }
}

/// Creates a job whose messages go to a port, with this key.
pub(crate) fn create_job(port: &Port, key: usize) -> Result<OwnedHandle> {
    // SAFETY: A job without a name and with default security.
    let job = unsafe { CreateJobObjectW(ptr::null(), ptr::null()) };
    if job.is_null() {
        return Err(Error::os(Facts::CreateJobObjectW, last_error()));
    }
    // SAFETY: The handle is new, and nobody else's.
    let owned = unsafe { OwnedHandle::from_raw_handle(job) };
    let association = JOBOBJECT_ASSOCIATE_COMPLETION_PORT {
        CompletionKey: ptr::without_provenance_mut(key),
        CompletionPort: port.handle().raw(),
    };
    // SAFETY: The class has this structure. The key is not followed.
    unsafe {
        set(Handle(job.addr()), JobObjectAssociateCompletionPortInformation, &association)?;
    }
    Ok(owned)
}

pub(crate) fn assign_to_job(job: Handle, process: Handle) -> Result<()> {
    // SAFETY: Writes no memory of this process; the handles are checked.
    done(Facts::AssignProcessToJobObject, unsafe {
        AssignProcessToJobObject(job.raw(), process.raw())
    })
}

pub(crate) fn terminate_job(job: Handle, exit_code: u32) -> Result<()> {
    // SAFETY: Writes no memory of this process; the handle is checked.
    done(Facts::TerminateJobObject, unsafe { TerminateJobObject(job.raw(), exit_code) })
}

/// Whether the processes of a job end when its last handle is closed.
pub(crate) fn kill_on_job_close(job: Handle, kills: bool) -> Result<()> {
    // SAFETY: The class has this structure.
    unsafe {
        let mut limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION =
            query(job, JobObjectExtendedLimitInformation)?;
        let flags = &mut limits.BasicLimitInformation.LimitFlags;
        *flags &= !JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        *flags |= if kills { JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE } else { 0 };
        set(job, JobObjectExtendedLimitInformation, &limits)
    }
}

/// How many processes of a job are running.
pub(crate) fn active_processes(job: Handle) -> Result<u32> {
    // SAFETY: The class has this structure.
    let accounting: JOBOBJECT_BASIC_ACCOUNTING_INFORMATION =
        unsafe { query(job, JobObjectBasicAccountingInformation)? };
    Ok(accounting.ActiveProcesses)
}

/// # Safety
///
/// `T` is the structure of the class.
unsafe fn query<T: Default>(job: Handle, class: JOBOBJECTINFOCLASS) -> Result<T> {
    let mut information = T::default();
    // SAFETY: The structure is a local, with its length.
    done(Facts::QueryInformationJobObject, unsafe {
        QueryInformationJobObject(
            job.raw(),
            class,
            (&raw mut information).cast(),
            mem::size_of::<T>() as u32,
            ptr::null_mut(),
        )
    })?;
    Ok(information)
}

/// # Safety
///
/// `T` is the structure of the class.
unsafe fn set<T>(job: Handle, class: JOBOBJECTINFOCLASS, information: &T) -> Result<()> {
    // SAFETY: The structure is read during the call, by its length.
    done(Facts::SetInformationJobObject, unsafe {
        let length = mem::size_of::<T>() as u32;
        SetInformationJobObject(job.raw(), class, ptr::from_ref(information).cast(), length)
    })
}

fn done(facts: &'static Facts, succeeded: i32) -> Result<()> {
    if succeeded == 0 { Err(Error::os(facts, last_error())) } else { Ok(()) }
}
