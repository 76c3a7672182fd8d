# frozen_string_literal: true

# The classes of examples/sidekiq_jobs, in Ruby. Loaded by the sidekiq process and by the cases that
# enqueue. With CLASSES=none the sidekiq process has none of them; with CLASSES=broken their
# constructors raise.

require "json"
require "sidekiq"

# Writes what a run received, as the Rust worker does: one line, in one write.
module Reporting
  def initialize
    raise "the constructor of #{self.class} raises" if ENV["CLASSES"] == "broken"
  end

  def report(args)
    $stdout.write("ran #{jid} #{self.class} #{JSON.generate(args)}\n")
    $stdout.flush
  end
end

return if ENV["CLASSES"] == "none"

module Mailers
  class Welcome
    include Sidekiq::Worker
    include Reporting
    sidekiq_options queue: "mailers", tags: ["mail"]

    def perform(*args) = report(args)
  end
end

module Payments
  class BankClosed < StandardError; end

  # In Ruby it fails while FAIL is set.
  class Charge
    include Sidekiq::Worker
    include Reporting
    sidekiq_options backtrace: 5

    def perform(*args)
      report(args)
      raise BankClosed, "the bank is closed: Grüße, 世界" if ENV["FAIL"]
    end
  end
end

module Ledger
  class Import
    include Sidekiq::Worker
    include Reporting

    def perform(*args) = report(args)
  end
end

module Reports
  class Build
    include Sidekiq::Worker
    include Reporting

    def perform(*args) = report(args)
  end

  # Exists in Ruby only.
  class Print
    include Sidekiq::Worker
    include Reporting

    def perform(*args) = report(args)
  end

  # Exists in Ruby only, and runs until its process stops.
  class Watch
    include Sidekiq::Worker
    include Reporting

    def perform(*args)
      report(args)
      sleep
    end
  end
end
