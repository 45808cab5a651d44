#pragma once

/* What the journal is told of calls that failed. */

#include "daemon/job.h"

#define REPORT_USEC 1000000 /* at most one line so often about one uid's troubles */

void report_failure(const Job *j);
