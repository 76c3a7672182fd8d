# frozen_string_literal: true

# The command line sees and drives what Ruby does.

require "open3"

# Runs the command, and returns what it prints: an object for each line.
verk = lambda do |*args, exit: 0|
  output, errors, status = Open3.capture3(ENV.fetch("VERK_CLI"), *args, "-o", "json")
  assert_equal exit, status.exitstatus, "exit code of #{args.join(" ")} (#{errors.strip})"
  output.lines.map { |line| JSON.parse(line) }
end

ruby_process = lambda do
  wait_until("the Ruby process") { Sidekiq::ProcessSet.new.first }
end

check "the counts are those of Ruby's own statistics" do
  3.times { |n| Mailers::Welcome.perform_async(n.to_s) }
  2.times { |n| Mailers::Welcome.perform_in(3600, n.to_s) }
  stats = Sidekiq::Stats.new
  shown = verk.call("stats").first
  expected = [stats.processed, stats.failed, stats.enqueued, stats.scheduled_size, stats.retry_size, stats.dead_size]
  assert_equal expected, shown.values_at("processed", "failed", "waiting", "scheduled", "retries", "dead"), "counts"
  queues = verk.call("queues").to_h { |queue| [queue["queue"], queue["waiting"]] }
  assert_equal stats.queues.to_h, queues.reject { |_, waiting| waiting.zero? }, "queues"
  assert_equal [{ "action" => "delete", "matched" => 3, "changed" => 3, "dry_run" => false }],
               verk.call("clear", "mailers", "--yes"), "clear"
  assert_equal 0, Sidekiq::Queue.new("mailers").size, "jobs that Ruby counts"
  assert_equal 2, verk.call("jobs", "delete", "--place", "scheduled", "--all", "--yes").first["changed"], "deleted"
end

with_sidekiq(%w[default mailers], "FAIL" => "1") do |ruby|
  check "a process of Ruby is listed with its queues" do
    identity = ruby_process.call.identity
    shown = wait_until("the process") { verk.call("processes").find { |process| process["identity"] == identity } }
    assert_equal [ruby.pid, %w[default mailers], false],
                 [shown["pid"], shown["queues"].map { |queue| queue["queue"] }, shown["quiet"]], "pid, queues, quiet"
  end

  check "a job of Ruby that failed is shown as Ruby shows it, and runs again at once" do
    jid = Payments::Charge.perform_async(1500, 2)
    job = wait_until("the retry") { retries.find_job(jid) }
    shown = verk.call("retries", "--class", "Payments::Charge").find { |entry| entry["jid"] == jid }
    assert_equal [job["error_class"], job["error_message"], job.args, 1],
                 shown.values_at("error_class", "error_message", "args", "failures"), "error"
    assert_equal "#{job.score}-#{jid}".to_f, shown["key"].to_f, "key"
    verk.call("jobs", "run", shown["key"], "--place", "retries")
    ruby.wait_for(jid, nth: 2)
  end

  check "a job that is killed by the command line is in Ruby's dead set, byte for byte" do
    jid = Mailers::Welcome.perform_in(3600, "later")
    value = find(scheduled, jid).value
    verk.call("jobs", "kill", jid)
    assert_equal value, find(dead, jid).value, "payload"
    verk.call("jobs", "run", jid)
    ruby.wait_for(jid)
  end

  check "Ruby runs what the command line enqueues, with the same arguments" do
    jid = verk.call("enqueue", "Mailers::Welcome", '["from the shell"]', "--queue", "mailers").first["jid"]
    assert_equal ["from the shell"], ruby.wait_for(jid).args, "arguments"
  end

  check "Ruby's process obeys quiet and stop" do
    identity = ruby_process.call.identity
    verk.call("quiet", identity)
    wait_until("the process to be quiet") { verk.call("processes").any? { |process| process["quiet"] } }
    assert Sidekiq::ProcessSet.new.first.stopping?, "Ruby does not say that it is quiet"
    verk.call("stop", identity)
    wait_until_ended(ruby)
  end
end
