#pragma once

/* What the helper gives up before it sees a stranger's byte. Private to this folder. */

/* Limits on memory, processor time and descriptors, no new privileges, and a list of system
 * calls outside of which the process is killed. The result of a request is the only thing it can
 * change afterwards. 0 or a negative errno.
 *
 * Built with AddressSanitizer, the limit on memory and the list of calls are left out: its
 * shadow takes terabytes of address space, and its reports need to open files. */
int sandbox_enter(void);
