#pragma once

/* Names on the bus. The bus name is this one constant; everything else is built from it. */

#define PERCEPT_BUS_NAME     "org.perceptd.Percept1"
#define PERCEPT_PATH         "/org/perceptd/Percept1"
#define PERCEPT_MANAGER      PERCEPT_BUS_NAME ".Manager"
#define PERCEPT_REQUEST      PERCEPT_BUS_NAME ".Request"
#define PERCEPT_SESSION      PERCEPT_BUS_NAME ".Session"
#define PERCEPT_MODEL        PERCEPT_BUS_NAME ".Model"
#define PERCEPT_COLLECTION   PERCEPT_BUS_NAME ".Collection"
#define PERCEPT_ERROR        PERCEPT_BUS_NAME ".Error."
#define PERCEPT_REQUESTS     PERCEPT_PATH "/requests/"
#define PERCEPT_SESSIONS     PERCEPT_PATH "/sessions/"
#define PERCEPT_MODELS       PERCEPT_PATH "/models/"
#define PERCEPT_COLLECTIONS  PERCEPT_PATH "/collections/"
#define PERCEPT_ADMIN_GROUP  "perceptd"
#define PERCEPT_API_REVISION 1

#define LOG_CONTROL              "org.freedesktop.LogControl1"
#define LOG_CONTROL_PATH         "/org/freedesktop/LogControl1"
#define OBJECT_MANAGER_INTERFACE DBUS_INTERFACE_DBUS ".ObjectManager"
