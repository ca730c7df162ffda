// Keeps one Wine session alive without Wine's boot program and services.
//
// Every Windows program that starts waits for an event which the boot program
// would signal. This program makes that event, signalled, and stays: while it
// lives, the session's other programs start at once.
#include <windows.h>
#include <winternl.h>

NTSTATUS NTAPI NtCreateEvent(PHANDLE, ACCESS_MASK, const OBJECT_ATTRIBUTES *, int, BOOLEAN);
NTSTATUS NTAPI NtSetEvent(HANDLE, PULONG);

int main(void)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    HANDLE event;

    RtlInitUnicodeString(&name, L"\\KernelObjects\\__wineboot_event");
    InitializeObjectAttributes(&attributes, &name, OBJ_OPENIF | OBJ_CASE_INSENSITIVE, NULL, NULL);
    if (NtCreateEvent(&event, EVENT_ALL_ACCESS, &attributes, 0 /* NotificationEvent */, TRUE) < 0)
        return 1;
    NtSetEvent(event, NULL);

    // Tells the session that programs can be started now.
    CreateFileW(L"C:\\ready", GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
    Sleep(INFINITE);
    return 0;
}
