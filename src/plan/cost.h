#ifndef TLT_PLAN_COST_H
#define TLT_PLAN_COST_H
#endif
