"""The laws that code using a memory layer relies on, to be checked on a memory of your own."""

from callosal.contract.check import LAWS, ContractError, ContractReport, Law, LawResult, check_memory, contract_table

__all__ = ["LAWS", "ContractError", "ContractReport", "Law", "LawResult", "check_memory", "contract_table"]
