#include "ipc/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <dbus/dbus.h>

#include "ipc/names.h"

static const struct {
    ErrorCode code;
    const char *name;
} errors[] = {
    {ERROR_INVALID_ARGS, DBUS_ERROR_INVALID_ARGS},
    {ERROR_UNKNOWN_METHOD, DBUS_ERROR_UNKNOWN_METHOD},
    {ERROR_UNKNOWN_OBJECT, DBUS_ERROR_UNKNOWN_OBJECT},
    {ERROR_UNKNOWN_INTERFACE, DBUS_ERROR_UNKNOWN_INTERFACE},
    {ERROR_UNKNOWN_PROPERTY, DBUS_ERROR_UNKNOWN_PROPERTY},
    {ERROR_PROPERTY_READ_ONLY, DBUS_ERROR_PROPERTY_READ_ONLY},
    {ERROR_ACCESS_DENIED, DBUS_ERROR_ACCESS_DENIED},
    {ERROR_LIMITS_EXCEEDED, DBUS_ERROR_LIMITS_EXCEEDED},
    {ERROR_NO_MEMORY, DBUS_ERROR_NO_MEMORY},
    {ERROR_TIMEOUT, DBUS_ERROR_TIMEOUT},
    {ERROR_NOT_SUPPORTED, DBUS_ERROR_NOT_SUPPORTED},
    {ERROR_CANCELLED, PERCEPT_ERROR "Cancelled"},
    {ERROR_QUOTA_EXCEEDED, PERCEPT_ERROR "QuotaExceeded"},
    {ERROR_BUSY, PERCEPT_ERROR "Busy"},
    {ERROR_TOO_LARGE, PERCEPT_ERROR "TooLarge"},
    {ERROR_TRUNCATED, PERCEPT_ERROR "Truncated"},
    {ERROR_UNSUPPORTED_MEDIA, PERCEPT_ERROR "UnsupportedMedia"},
    {ERROR_DECODE_FAILED, PERCEPT_ERROR "DecodeFailed"},
    {ERROR_BAD_DESCRIPTOR, PERCEPT_ERROR "BadDescriptor"},
    {ERROR_MODEL_UNAVAILABLE, PERCEPT_ERROR "ModelUnavailable"},
    {ERROR_NOT_SEALED, PERCEPT_ERROR "NotSealed"},
    {ERROR_DEVICE_LOST, PERCEPT_ERROR "DeviceLost"},
    {ERROR_MODEL_MISMATCH, PERCEPT_ERROR "ModelMismatch"},
    {ERROR_NO_SUCH_COLLECTION, PERCEPT_ERROR "NoSuchCollection"},
    {ERROR_NO_SUCH_ITEM, PERCEPT_ERROR "NoSuchItem"},
    {ERROR_INDEX_CORRUPT, PERCEPT_ERROR "IndexCorrupt"},
};

const char *error_name(ErrorCode code)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code)
            return errors[i].name;
    return DBUS_ERROR_FAILED;
}

int failure_set(Failure *f, ErrorCode code, const char *format, ...)
{
    va_list args;

    f->code = code;
    va_start(args, format);
    vsnprintf(f->message, sizeof f->message, format, args);
    va_end(args);
    return -EBADMSG;
}
