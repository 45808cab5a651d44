#pragma once

/* What the journal is told of calls that failed, and of models. */

#include "daemon/job.h"
#include "daemon/worker.h"

#define REPORT_USEC 1000000 /* at most one line so often about one uid's troubles */

void report_failure(const Job *j);
/* What became of one place among the loaded models. */
void report_model(const ModelStatus *before, const ModelStatus *now);
