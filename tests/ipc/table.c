/* Prints the tables of the interface, one line an entry, for test_table.py. */

#include <stdio.h>

#include "ipc/methods.h"

int main(void)
{
    static const char *const changes[] = {
        [PROPERTY_CONSTANT] = "const", [PROPERTY_EMITS] = "true", [PROPERTY_POLL] = "false"};

    for (size_t i = 0; i < n_methods; i++)
        printf("method %s %s '%s' '%s'\n", methods[i].interface, methods[i].member, methods[i].in,
               methods[i].out);
    for (size_t i = 0; i < n_properties; i++)
        printf("property %s %s '%s' %s %s\n", properties[i].interface, properties[i].name,
               properties[i].signature, changes[properties[i].change],
               properties[i].set ? "readwrite" : "read");
    for (size_t i = 0; i < n_interfaces; i++)
        printf("interface %s\n", interfaces[i].name);
    return 0;
}
