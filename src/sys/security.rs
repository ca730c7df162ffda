//! Security descriptors.

use std::fmt;
use std::mem;
use std::ptr::{self, NonNull};

use windows_sys::Win32::Foundation::{GENERIC_ALL, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, ACL_REVISION, SE_DACL_PRESENT, SE_DACL_PROTECTED,
    SE_SELF_RELATIVE, SECURITY_ATTRIBUTES, SECURITY_CREATOR_SID_AUTHORITY,
    SECURITY_DESCRIPTOR_RELATIVE, SID,
};
use windows_sys::Win32::System::SystemServices::{
    ACCESS_ALLOWED_ACE_TYPE, SECURITY_CREATOR_OWNER_RIGHTS_RID, SECURITY_DESCRIPTOR_REVISION,
    SID_REVISION,
};

use super::last_error;
use crate::error::{Error, Facts, Result, refusal};

/// A self-relative security descriptor, which says who may do what with an object.
///
/// ```
/// use completion_port::pipe::SecurityDescriptor;
///
/// // Whoever created it may do everything, and interactive users nothing but read.
/// SecurityDescriptor::from_sddl("D:P(A;;GA;;;OW)(A;;GR;;;IU)")?;
/// # Ok::<(), completion_port::Error>(())
/// ```
pub struct SecurityDescriptor(NonNull<std::ffi::c_void>);

// SAFETY: Nobody writes to it, and any thread may free memory of the local heap.
unsafe impl Send for SecurityDescriptor {}
// SAFETY: Nobody writes to it.
unsafe impl Sync for SecurityDescriptor {}

impl SecurityDescriptor {
    /// Parses a text in the [security descriptor definition
    /// language](https://learn.microsoft.com/windows/win32/secauthz/security-descriptor-string-format).
    ///
    /// # Errors
    ///
    /// What the system says of a text that it does not understand.
    pub fn from_sddl(text: &str) -> Result<Self> {
        let text = zero_terminated(text.encode_utf16())?;
        let mut descriptor = ptr::null_mut();
        // SAFETY: The text ends with a zero; the descriptor is written before the
        // call returns, and its length is optional.
        let converted = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        };
        match NonNull::new(descriptor) {
            Some(descriptor) if converted != 0 => Ok(Self(descriptor)),
            _ => Err(Error::os(Facts::ConvertSecurityDescriptor, last_error())),
        }
    }
}

/// For an object that no child process inherits, its owner's alone unless there is a
/// descriptor.
pub(super) fn attributes(descriptor: Option<&SecurityDescriptor>) -> SECURITY_ATTRIBUTES {
    SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: match descriptor {
            Some(SecurityDescriptor(descriptor)) => descriptor.as_ptr(),
            // It is only read.
            None => ptr::from_ref(&OWNER_ONLY).cast_mut().cast(),
        },
        bInheritHandle: 0,
    }
}

/// `D:P(A;;GA;;;OW)`: whoever owns the object may do everything, and nobody else
/// anything.
static OWNER_ONLY: OwnerOnly = OwnerOnly {
    header: SECURITY_DESCRIPTOR_RELATIVE {
        Revision: SECURITY_DESCRIPTOR_REVISION as u8,
        Sbz1: 0,
        Control: SE_DACL_PRESENT | SE_DACL_PROTECTED | SE_SELF_RELATIVE,
        Owner: 0,
        Group: 0,
        Sacl: 0,
        Dacl: mem::offset_of!(OwnerOnly, list) as u32,
    },
    list: ACL {
        AclRevision: ACL_REVISION as u8,
        Sbz1: 0,
        AclSize: (size_of::<ACL>() + OwnerOnly::ENTRY) as u16,
        AceCount: 1,
        Sbz2: 0,
    },
    entry: ACE_HEADER {
        AceType: ACCESS_ALLOWED_ACE_TYPE as u8,
        AceFlags: 0,
        AceSize: OwnerOnly::ENTRY as u16,
    },
    rights: GENERIC_ALL,
    owner: SID {
        Revision: SID_REVISION as u8,
        SubAuthorityCount: 1,
        IdentifierAuthority: SECURITY_CREATOR_SID_AUTHORITY,
        SubAuthority: [SECURITY_CREATOR_OWNER_RIGHTS_RID as u32],
    },
};

#[repr(C)]
struct OwnerOnly {
    header: SECURITY_DESCRIPTOR_RELATIVE,
    list: ACL,
    entry: ACE_HEADER,
    rights: u32,
    owner: SID,
}

impl OwnerOnly {
    /// The length of the entry: a SID takes the place of the last field.
    const ENTRY: usize = mem::offset_of!(ACCESS_ALLOWED_ACE, SidStart) + size_of::<SID>();
}

impl Drop for SecurityDescriptor {
    fn drop(&mut self) {
        // SAFETY: "Free the returned buffer by calling the LocalFree function", and
        // nobody uses it any more.
        unsafe { LocalFree(self.0.as_ptr()) };
    }
}

impl fmt::Debug for SecurityDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityDescriptor").finish_non_exhaustive()
    }
}

/// A string for the system, which would take a zero in it for its end.
pub(super) fn zero_terminated(text: impl Iterator<Item = u16>) -> Result<Vec<u16>> {
    let mut text: Vec<u16> = text.collect();
    if text.contains(&0) {
        return Err(Error::usage(&refusal::ZERO));
    }
    text.push(0);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Security::Authorization::ConvertSecurityDescriptorToStringSecurityDescriptorW;
    use windows_sys::Win32::Security::DACL_SECURITY_INFORMATION;

    use super::*;

    /// What the system makes of a descriptor.
    fn text(attributes: &SECURITY_ATTRIBUTES) -> String {
        let (mut text, mut length) = (ptr::null_mut(), 0);
        // SAFETY: The descriptor is valid, and the out-parameters are locals; the text
        // has so many characters, and is freed as it should.
        unsafe {
            let converted = ConvertSecurityDescriptorToStringSecurityDescriptorW(
                attributes.lpSecurityDescriptor,
                SDDL_REVISION_1,
                DACL_SECURITY_INFORMATION,
                &raw mut text,
                &raw mut length,
            );
            assert_ne!(converted, 0, "{}", last_error());
            let string =
                String::from_utf16_lossy(std::slice::from_raw_parts(text, length as usize));
            LocalFree(text.cast());
            string.trim_end_matches('\0').into()
        }
    }

    #[test]
    fn the_descriptor_of_what_is_the_owners_alone_is_understood() {
        let same = SecurityDescriptor::from_sddl("D:P(A;;GA;;;OW)").unwrap();
        assert_eq!(text(&attributes(None)), text(&attributes(Some(&same))));
        assert!(text(&attributes(None)).starts_with("D:P(A;;GA;;;"));
    }
}
